import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from esc_cli.errors import ExitCode
from esc_cli.jobs import estimate as estimates
from esc_cli.jobs.events import Engine, Estimate, Event, Failed, Planned
from esc_cli.jobs.upscale import Report, upscale_files
from esc_cli.media.picture import Picture

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
    assert [(plan.input, plan.model) for plan in plans] == [(two[0], "esc"), (two[1], "esc-robust")]
    assert plans[0].model_reason == "clean and sharp"
    assert "JPEG" in str(plans[1].model_reason)
    assert [event.model for event in heard if isinstance(event, Engine)] == ["esc", "esc-robust"]
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


def estimate(*names: str, output: str | None = None, **options: Any) -> Estimate:
    heard: list[Any] = []
    upscale_files(
        names, output, listener=heard.append, dry_run=True, **{"model": "nearest", "scale": 2, **options}
    )
    (event,) = (event for event in heard if isinstance(event, Estimate))
    return event


def test_all_is_counted_before_the_work(save: Save) -> None:
    save("in/a.png", size=(50, 40)), save("in/b.bmp", size=(20, 10)), save("in/c.png"), save("out/c.png")
    Path("in/d.png").touch()
    Path("in/notes.txt").write_text("hello")
    event = estimate("in", output="out", when_there="skip")
    assert (event.files, event.skipped, event.failed, event.passed_over) == (2, 1, 1, 1)
    assert event.disk_bytes == round(100 * 80 * 3 * 0.3) + 40 * 20 * 3
    assert event.free_disk_bytes == pytest.approx(shutil.disk_usage(".").free, rel=0.1)
    assert event.warnings == ()
    assert not Path("out/a.png").exists()


def test_time_grows_with_the_work(save: Save) -> None:
    save("small/a.png", size=(10, 10)), save("large/a.png", size=(3000, 3000))
    large, small = estimate("large").seconds, estimate("small").seconds
    assert large is not None
    assert small is not None
    assert large > small >= 0


def run(save: Save, side_px: int, count: int) -> Estimate | None:
    """Upscale pictures for real, and return the event with the estimate."""
    for number in range(count):
        save(f"in/{number}.png", size=(side_px, side_px))
    names, heard = [f"in/{number}.png" for number in range(count)], list[Any]()
    upscale_files(names, "out/", listener=heard.append, model="nearest", scale=2)
    return next((event for event in heard if isinstance(event, Estimate)), None)


def test_a_small_job_is_not_delayed_by_its_estimate(save: Save) -> None:
    event = run(save, 100, 2)
    assert event is not None
    assert (event.seconds, event.disk_bytes) == (None, 2 * round(200 * 200 * 3 * 0.3))


def test_one_small_picture_has_no_estimate(save: Save) -> None:
    assert run(save, 100, 1) is None


def test_one_large_picture_has_an_estimate(save: Save) -> None:
    event = run(save, 400, 1)
    assert event is not None
    assert event.seconds is not None


def test_a_trial_is_no_larger_than_the_work(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that takes as long as the work is made once, on a picture of the work's size."""
    sizes: list[tuple[int, int]] = []
    measured = estimates.enlarge

    def enlarge(picture: Picture, *rest: Any) -> object:
        sizes.append((picture.height, picture.width))
        return measured(picture, *rest)

    monkeypatch.setattr(estimates, "enlarge", enlarge)
    save("a.png", size=(20, 10))
    estimate("a.png", model="esc-light", device="cpu")
    assert sizes == [(14, 14)]


def test_an_estimate_costs_little_however_large_the_result(save: Save) -> None:
    """Six passes of x4 together would enlarge the picture that is timed to 262,144 pixels per side."""
    save("in/dot.png", size=(1, 1)), save("in/a.png", size=(20, 16))
    assert estimate("in", size="4000x4000", scale=None).seconds


def test_a_disk_too_small_is_a_warning(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    save("in/a.png", size=(1000, 1000))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    (warning,) = estimate("in").warnings
    assert warning == "the results may take about 3.6 MB, and the disk has 1.0 MB left"
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 4321))
    (warning,) = estimate("in").warnings
    assert warning == "the results may take about 3.6 MB, and the disk has 5 kB left"


def test_a_result_that_is_above_our_own_limit_is_told_of(save: Save) -> None:
    save("a.png", size=(1000, 600))
    heard: list[Any] = []
    options: dict[str, Any] = {"model": "nearest", "scale": 2, "dry_run": True}
    upscale_files(["a.png"], listener=heard.append, max_megapixels=1, **options)
    assert heard[0].lost == ("to read the result again, this program needs --max-megapixels 3",)
