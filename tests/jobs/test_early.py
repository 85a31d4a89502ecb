"""Refuse mistakes without torch, whose import takes seconds."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from PIL import Image

from esc_cli.errors import ExitCode
from esc_cli.jobs.early import refuse_early
from esc_cli.jobs.options import Options

WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from esc_cli.cli.main import main; main()"
"""The command, in a process that cannot import torch."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "a_x4.png", "other.png"):
        Image.new("RGB", (6, 4)).save(name)
    Path("damaged.png").write_bytes(Path("a.png").read_bytes()[:20])
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("a.png", ExitCode.CANNOT_WRITE, "'a_x4.png' already exists"),
        ("a.png -m esc-light", ExitCode.CANNOT_WRITE, "'a_x4.png' already exists"),
        ("a.png -s 1.5 -o other.png", ExitCode.CANNOT_WRITE, "'other.png' already exists"),
        ("a.png --size 12x -o other.png", ExitCode.CANNOT_WRITE, "'other.png' already exists"),
        ("a.png -o a.png", ExitCode.CANNOT_WRITE, "'a.png' is an input"),
        ("a.png -o a.png/b.png", ExitCode.CANNOT_WRITE, "'a.png' is not a folder"),
        ("damaged.png", ExitCode.BAD_INPUT, "damaged.png is damaged"),
        ("missing.png", ExitCode.BAD_INPUT, "missing.png: there is no such file"),
        ("a.png -s 0", ExitCode.USAGE, "a scale must be a number above zero"),
        ("a.png -m unknown", ExitCode.WEIGHTS, "unknown"),
        ("a.png -f jpepg", ExitCode.USAGE, "jpepg"),
    ],
)
def test_a_mistake_is_refused_without_torch(
    folder: Path, arguments: str, code: ExitCode, message: str
) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments.split()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == code, ended.stderr
    assert message in ended.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_result_that_exists_needs_no_folder_that_can_be_written_to(
    save: Callable[..., Path], public_folder: Path, unprivileged: Callable[[], AbstractContextManager[None]]
) -> None:
    """It may be up to date, or is skipped."""
    inputs = [str(save(str(public_folder / "a.png")))]
    save(str(public_folder / "a_x4.png"))
    public_folder.chmod(0o555)
    with unprivileged():
        refuse_early(inputs, None, Options(when_there="skip"), inputs_too=True)


def test_a_picture_of_another_shard_is_not_refused(folder: Path) -> None:
    for shard in ("1/2", "2/2"):
        refuse_early(["a.png"], None, Options(shard=shard), inputs_too=True)
