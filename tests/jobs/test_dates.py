"""Test that results keep the date of their input, and that records agree with it."""

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

import esc_cli
from esc_cli.jobs.events import Done, Event, Skipped, Summary
from esc_cli.jobs.record import made_from, size_and_time
from esc_cli.jobs.upscale import upscale_files

Save = Callable[..., Path]

LONG_AGO_NS = 1_000_000_000_123_456_700
"""A time in 2001. Windows stores times in steps of 100 ns."""


@pytest.fixture(autouse=True)
def _empty_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*names: str, **options: Any) -> list[Event]:
    heard: list[Event] = []
    upscale_files(
        names, listener=heard.append, **{"model": "nearest", "scale": 2, "device": "cpu", **options}
    )
    return heard


def dated(path: str | Path) -> str:
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    return str(path)


def clip(name: str) -> str:
    with av.open(name, "w") as file:
        stream: Any = file.add_stream("libx264", rate=10)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for time in range(3):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * time, np.uint8), "rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 10)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return dated(name)


def time_of(path: str | Path) -> int:
    return Path(path).stat().st_mtime_ns


@pytest.mark.parametrize("nameless", [True, False])
def test_a_picture_keeps_its_date(save: Save, monkeypatch: pytest.MonkeyPatch, nameless: bool) -> None:
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    dated(save("in.png"))
    run("in.png", keep_dates=True)
    assert time_of("in_x2.png") == LONG_AGO_NS
    assert made_from(Path("in_x2.png")) == size_and_time(Path("in.png"))
    assert [event.reason for event in run("in.png") if isinstance(event, Skipped)] == ["up to date"]


def test_without_the_option_the_date_is_that_of_the_work(save: Save) -> None:
    dated(save("in.png"))
    run("in.png")
    assert time_of("in_x2.png") > LONG_AGO_NS


def test_results_that_are_up_to_date_get_the_date(save: Save) -> None:
    dated(save("in.png"))
    run("in.png")
    content = Path("in_x2.png").read_bytes()
    assert [event for event in run("in.png", keep_dates=True) if isinstance(event, Done)] == []
    assert (time_of("in_x2.png"), Path("in_x2.png").read_bytes()) == (LONG_AGO_NS, content)
    assert made_from(Path("in_x2.png")) == size_and_time(Path("in.png"))


def test_a_clip_and_what_is_made_of_it_keep_its_date() -> None:
    clip("in.mp4")
    run("in.mp4", keep_dates=True)
    run("in.mp4", keep_dates=True, preview=2)
    run("in.mp4", output="frames/%d.png", keep_dates=True)
    run("in.mp4", output="raw.y4m", keep_dates=True)
    results = ["in_x2.mp4", "in_x2_preview.png", "raw.y4m", *sorted(map(str, Path("frames").glob("*.png")))]
    assert len(results) == 6
    assert {time_of(path) for path in results} == {LONG_AGO_NS}
    assert made_from(Path("in_x2.mp4")) == size_and_time(Path("in.mp4"))
    (again,) = (event for event in run("in.mp4", keep_dates=True) if isinstance(event, Skipped))
    assert again.reason == "up to date"


def test_a_clip_of_pictures_has_the_date_of_the_latest(save: Save) -> None:
    for number in (1, 2, 3):
        path = save(f"in/{number}.png", size=(64, 48))
        os.utime(path, ns=(0, LONG_AGO_NS - number * 10**9))
    run("in/%d.png", output="out.mp4", fps="10", keep_dates=True)
    assert time_of("out.mp4") == LONG_AGO_NS - 10**9


def test_one_picture_in_python(save: Save) -> None:
    dated(save("in.png"))
    assert time_of(esc_cli.upscale("in.png", "out.webp", model="nearest", keep_dates=True)) == LONG_AGO_NS


def test_a_date_that_cannot_be_set_is_a_failure(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    dated(save("in.png"))
    run("in.png")

    def denied(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", denied)
    (summary,) = (event for event in run("in.png", keep_dates=True) if isinstance(event, Summary))
    assert (summary.failed, summary.skipped) == (1, 1)
