from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from esc_cli.cli.train import Variant
from esc_cli.networks.variants import VARIANTS

Run = Callable[..., Any]
Save = Callable[..., Path]


def test_bad_milestones(run: Run) -> None:
    ended = run("train", "in", "-o", "out", "--milestones", "1,two")
    assert (ended.code, ended.stderr) == (
        2, "esc-upscale: --milestones takes whole numbers with commas, not '1,two'\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "option", ["--scale", "--steps", "--batch-size", "--patch-px", "--validate-every", "--save-every"]
)
def test_numbers_that_make_no_sense(run: Run, option: str) -> None:
    ended = run("train", "in", "-o", "out", option, 0)
    assert ended.code == 2
    assert option in ended.stderr
    assert not Path("out").exists()


def test_every_variant_can_be_named(run: Run) -> None:
    assert get_args(Variant) == tuple(VARIANTS)
    ended = run("train", "in", "-o", "out", "--variant", "unknown")
    assert ended.code == 2
    assert "'--variant'" in ended.stderr


def test_errors(run: Run) -> None:
    assert run("train", "nowhere", "-o", "out").code == 3
    assert run("train", "nowhere").code == 2
    assert run("train", "nowhere", "-o", "out2", "-d", "abacus").code == 5
    assert run("train", "nowhere", "-o", "out4", "--resume").code == 3
    Path("file").touch()
    assert run("train", "nowhere", "-o", "file/out").code == 6
