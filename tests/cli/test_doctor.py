"""Test that ``doctor`` tries every part, and says what fails."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli.option_layers import default_file
from esc_cli.engine.executors.registry import MODULES
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.video.containers import CONTAINERS

Run = Callable[..., Any]


def checks(run: Run, code: int = 0) -> dict[str, dict[str, Any]]:
    ended = run("doctor", "--json")
    assert (ended.code, ended.stderr) == (code, "")
    return {check["name"]: check for check in json.loads(ended.text)["checks"]}


def test_every_part_is_tried(run: Run) -> None:
    found = checks(run)
    assert {"cpu", "files", DEFAULT_MODEL} < found.keys()
    assert found.keys() >= {*MODULES, *FORMATS, *(container.name for container in CONTAINERS)}
    for check in found.values():
        assert check["state"] in ("works", "not installed", "cannot be used"), check
        assert check["detail"]
        assert check["state"] == "works" or check["optional"]


def test_the_answer_fits_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    ended = run("doctor")
    assert (ended.code, ended.stderr) == (0, "")
    lines = ended.text.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip()] == []
    for word in (
        "torch ",
        "JPEG XL ",
        "Matroska ",
        "openvino ",
        "GB free",
        "usable cores",
        "by large jobs",
        "pillow ",
    ):
        assert word in ended.text
    assert lines[-1] == "All installed parts work."


def test_a_part_that_is_not_installed_does_no_harm(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    check = checks(run)["HEIC"]
    assert (check["state"], check["detail"]) == ("not installed", 'pip install "esc-upscale[heic]"')


def test_a_part_that_fails_sets_the_exit_code(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("the encoder is broken")

    monkeypatch.setitem(Image.SAVE, "BMP", fail)
    check = checks(run, code=6)["BMP"]
    assert (check["state"], check["exit_code"]) == ("fails", 6)
    ended = run("doctor")
    assert ended.code == 6
    assert ended.text.splitlines()[-1] == "These parts fail: BMP"
    assert "Traceback" not in ended.text


def test_a_picture_that_is_read_differently_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    save = Image.SAVE["BMP"]

    def save_black(image: Image.Image, *arguments: Any) -> None:
        image.paste((0, 0, 0), (0, 0, *image.size))
        save(image, *arguments)

    monkeypatch.setitem(Image.SAVE, "BMP", save_black)
    assert checks(run, code=6)["BMP"]["detail"].startswith("the colors that were read are 12")


def test_an_optional_part_that_fails_is_named_only(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("pillow_heif")
    module.__spec__ = type(sys.__spec__)("pillow_heif", None)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    check = checks(run)["HEIC"]
    assert check["state"] == "fails"
    assert "HEIC: AttributeError: module 'pillow_heif' has no attribute" in check["detail"]
    assert run("doctor").text.splitlines()[-1] == "These parts fail: HEIC"


def test_without_a_temporary_folder_clips_are_not_tried(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryDirectory", fail)
    found = checks(run, code=6)
    assert found["MP4"]["detail"] == (
        "temporary files cannot be written: No usable temporary directory found: "
        "FileNotFoundError: [Errno 2] No usable temporary directory found"
    )
    assert found["PNG"]["state"] == "works"


def test_the_configuration_in_force_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    default_file().parent.mkdir(parents=True)
    default_file().write_text("scale = 2\n")
    monkeypatch.setenv("ESC_UPSCALE_TTA", "1")
    facts = json.loads(run("doctor", "--json").text)["configuration"]
    assert facts["settings"] == {
        "the environment": "ESC_UPSCALE_TTA = true",
        str(default_file()): "scale = 2.0",
    }
    default_file().write_text("scael = 2\n")
    ended = run("doctor")
    assert ended.code == 2
    assert f"fails: {default_file()}: there is no option 'scael' (did you mean 'scale'?)" in ended.text


def test_extras_are_listed(run: Run) -> None:
    extras = {one["name"]: one for one in json.loads(run("doctor", "--json").text)["extras"]}
    assert "test" not in extras
    assert extras["heic"]["brings"] == ["HEIC"]
    assert extras["openvino"]["brings"] == ["--runtime openvino"]
    assert [*Path().iterdir()] == []
