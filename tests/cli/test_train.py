import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from esc_cli.cli.train import Variant
from esc_cli.networks.architectures.registry import VARIANTS

Run = Callable[..., Any]
Save = Callable[..., Path]


def config_of(folder: str) -> Any:
    return json.loads(Path(folder, "config.json").read_text())


def test_bad_milestones(run: Run) -> None:
    ended = run("train", "in", "-o", "out", "--milestones", "1,two")
    assert (ended.code, ended.stderr) == (
        2, "esc-upscale: --milestones takes whole numbers separated by commas, not '1,two'\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    "option",
    ["--scale", "--steps", "--batch-size", "--patch-px", "--validate-every", "--validation-pictures"],
)
def test_numbers_that_make_no_sense(run: Run, option: str) -> None:
    ended = run("train", "in", "-o", "out", option, 0)
    assert ended.code == 2
    assert option in ended.stderr
    assert not Path("out").exists()


def test_every_variant_of_one_scale_can_be_named(run: Run) -> None:
    assert {*get_args(Variant), "esc-lte"} == set(VARIANTS)
    ended = run("train", "in", "-o", "out", "--variant", "unknown")
    assert ended.code == 2
    assert "'--variant'" in ended.stderr


def test_errors(run: Run, pictures: Path) -> None:
    assert run("train", "nowhere", "-o", "out").code == 3
    assert run("train", "nowhere").code == 2
    assert run("train", "nowhere", "-o", "out2", "-d", "abacus").code == 5
    assert run("train", "nowhere", "-o", "out4", "--resume").code == 3
    ended = run("train", "nowhere", "-o", "out5", "--preset", "esc-x5")
    assert ended.code == 2
    assert "no preset 'esc-x5'" in ended.stderr
    Path("file").touch()
    assert run("train", pictures, "-o", "file/out", "--validation-pictures", 1).code == 6
    assert not any(Path(name).exists() for name in ("out", "out2", "out4", "out5"))


@pytest.fixture
def pictures(save: Save) -> Path:
    save("pictures/a.png", (40, 36))
    return save("pictures/b.png", (36, 40)).parent


def test_options_win_over_the_preset(run: Run, pictures: Path) -> None:
    small = ("--steps", 1, "--batch-size", 1, "--patch-px", 8, "--validation-pictures", 1)
    others = ("-p", "float32", "--no-zero-head", "--teacher-share", 0)
    ended = run("train", pictures, "-o", "out", "--preset", "esc-light-x2", *small, *others)
    assert (ended.code, ended.text) == (0, f"{Path('out/weights.safetensors')}\n")
    config = config_of("out")
    assert (config["variant"], config["scale"], config["learning_rate"]) == ("esc-light", 2, 1e-3)
    assert (config["steps"], config["minutes"]) == (
        1,
        None,
    )  # the given steps replace the preset's time
    assert (config["batch_size"], config["precision"], config["zero_head"]) == (1, "float32", False)
    assert (config["teacher"], config["teacher_share"]) == ("esc", 0)


def test_weights_to_start_from_must_exist(run: Run, pictures: Path) -> None:
    ended = run("train", pictures, "-o", "out", "--initial", "nowhere.pth")
    assert (ended.code, ended.stderr) == (4, "esc-upscale: there is no model file 'nowhere.pth'\n")


def test_a_teacher_must_exist(run: Run, pictures: Path) -> None:
    small = ("--patch-px", 8, "--validation-pictures", 1)
    ended = run("train", pictures, "-o", "out", *small, "--teacher", "nobody")
    assert ended.code == 4
    assert "no model 'nobody'" in ended.stderr
    none = ("--steps", 1, "--batch-size", 1, "--teacher", "nobody", "--teacher-share", 0)
    assert run("train", pictures, "-o", "out2", *small, *none).code == 0


def test_a_run_is_carried_on_and_branched_off_with_its_own_options(run: Run, pictures: Path) -> None:
    small = ("--variant", "esc-light", "--batch-size", 1, "--patch-px", 8, "--validation-pictures", 1)
    assert run("train", pictures, "-o", "out", *small, "--schedule", "constant", "--steps", 1).code == 0
    assert run("train", pictures, "-o", "out", "--resume", "--steps", 2, "--seed", 9).code == 0
    config = config_of("out")
    assert (config["variant"], config["steps"], config["seed"]) == ("esc-light", 2, 0)
    ended = run("train", pictures, "-o", "out", "--resume", "--steps", 2)
    assert (ended.code, ended.stderr) == (0, "the run in 'out' is already complete\n")
    ended = run("train", pictures, "-o", "cool", "--branch-of", "out", "--schedule", "decay")
    assert (ended.code, ended.stderr) == (
        2, "esc-upscale: a branch needs a length\n  add --steps or --minutes\n"
    )  # fmt: skip
    branch = ("--branch-of", "out", "--schedule", "decay", "--steps", 1)
    assert run("train", pictures, "-o", "cool", *branch).code == 0
    config = config_of("cool")
    assert (config["variant"], config["steps"], config["first_step"]) == ("esc-light", 1, 2)
