from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]
Save = Callable[..., Path]


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_help(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.text.startswith("Usage: esc-upscale [OPTIONS]")
    for option in ("--output", "--scale", "--model", "--device", "--precision", "--tiling", "--tile",
                   "--overlap", "--format", "--quality", "--recursive", "--overwrite", "--skip-existing",
                   "--dry-run", "--json", "--quiet", "--verbose", "--version"):  # fmt: skip
        assert option in ended.text


def test_version(run: Run) -> None:
    ended = run("--version")
    assert (ended.code, ended.stderr) == (0, "")
    assert ended.text.startswith("esc-upscale ")


def test_only_a_first_word_is_a_command(run: Run, save: Save) -> None:
    save("models", format="PNG")
    assert run("models").text.strip().startswith("PSNR")
    assert run("./models", "-m", "nearest").code == 0
    assert run("-m", "nearest", "models", "-s", 2).code == 0
    assert Path("models_x4.png").exists()
    assert Path("models_x2.png").exists()


def test_without_an_input(run: Run) -> None:
    ended = run("-s", 2)
    assert ended.code == 2
    assert "Missing argument" in ended.stderr
