"""Test that a dry run reports the model of each file and the files that cannot be decoded."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from esc_cli.errors import ExitCode
from esc_cli.jobs.events import Engine, Estimate, Event, Failed, Planned
from esc_cli.jobs.upscale import Report, upscale_files

Save = Callable[..., Path]


def dry_run(*names: str, **options: object) -> tuple[list[Event], Report]:
    heard: list[Event] = []
    asked = {"scale": 2, "device": "cpu", "precision": "float32", **options}
    return heard, upscale_files(names, listener=heard.append, dry_run=True, **asked)  # type: ignore[arg-type]


@pytest.fixture
def two(save: Save, scene: Image.Image) -> list[str]:
    """Save a clean picture and one that JPEG has degraded, and return their names."""
    scene.save(save("in/good.png"))
    scene.save(save("in/worse.jpg"), quality=60)
    return ["in/good.png", "in/worse.jpg"]


def test_each_picture_has_its_model_and_the_reason(two: list[str]) -> None:
    heard, report = dry_run("in")
    plans = [event for event in heard if isinstance(event, Planned)]
    assert [(plan.input, plan.model) for plan in plans] == [(two[0], "esc"), (two[1], "esc-light-robust")]
    assert plans[0].model_reason == "clean and sharp"
    assert "JPEG" in str(plans[1].model_reason)
    assert [event.model for event in heard if isinstance(event, Engine)] == ["esc", "esc-light-robust"]
    assert isinstance(heard[-1], Estimate)
    assert (report.exit_code, Path("in_x2").exists()) == (ExitCode.OK, False)


def test_a_smaller_result_needs_no_model(two: list[str]) -> None:
    heard, _ = dry_run("in", scale=None, size="50%")
    assert [event.model for event in heard if isinstance(event, Planned)] == [None, None]


def test_a_named_model_needs_no_look(two: list[str]) -> None:
    Path(two[1]).write_bytes(Path(two[1]).read_bytes()[:-900])
    heard, report = dry_run("in", model="nearest")
    plans = [event for event in heard if isinstance(event, Planned)]
    assert [(plan.model, plan.model_reason) for plan in plans] == [("nearest", None)] * 2
    assert report.exit_code is ExitCode.OK


def test_what_cannot_be_decoded_is_told(two: list[str]) -> None:
    Path(two[1]).write_bytes(Path(two[1]).read_bytes()[:-900])
    heard, report = dry_run("in")
    assert [event.input for event in heard if isinstance(event, Failed)] == [two[1]]
    assert [event.input for event in heard if isinstance(event, Planned)] == [two[0]]
    assert report.exit_code is ExitCode.SOME_FAILED
