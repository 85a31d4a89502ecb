"""Test that results depend on each option as the option's metadata says."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esc_cli.engine.upscaler import Upscaler
from esc_cli.enhancement.choice import Chooser
from esc_cli.errors import UsageError
from esc_cli.jobs.options import DEFAULTS, Options
from esc_cli.jobs.plan import Request, make_plan
from esc_cli.jobs.recipe import task_recipe
from esc_cli.jobs.upscale import geometry_of

BASE: dict[str, Any] = {"model": "nearest", "device": "cpu"}

OTHERS: dict[str, Any] = {
    "model": "bicubic",
    "precision": "float32",
    "tiling": "overlap",
    "tile_px": 64,
    "overlap_px": 8,
    "tta": True,
    "scale": 3,
    "size": "50%",
    "consistency": True,
    "seamless": "xy",
    "alpha": "data",
    "format": "webp",
    "quality": 50,
    "metadata": "none",
    "attention": "naive",
    "runtime": "torch",
    "name": "{stem} {scale}",
    "keep_dates": True,
    "in_place": True,
    "backup": "originals",
    "yes": True,
    "files_from": "list.txt",
    "recursive": True,
    "when_there": "skip",
    "max_megapixels": 1,
    "threads": 1,
    "nice": 0,
    "retune": True,
    "workers": 2,
    "shard": "1/1",
    "cluster": "local",
    "fail_fast": True,
    "damaged": "keep",
}
"""For each option of pictures, a value that differs from ``BASE`` or the default."""

TOGETHER: dict[str, dict[str, Any]] = {
    "in_place": {"backup": "kept"},
    "backup": {"in_place": True, "yes": True},
    "yes": {"in_place": True, "backup": "originals"},
}
"""For some options, others without which they are refused."""

CLIPS = (
    "video_codec",
    "crf",
    "preset",
    "pixel_format",
    "codec_options",
    "audio",
    "deinterlace",
    "start",
    "end",
    "preview",
    "fps",
)
"""Options of clips. A clip's task holds the values that follow from them, and its record has them all."""


def recipe(**options: Any) -> Any:
    """Return everything that the result of a picture depends on, as in the record beside it."""
    chosen = Options(**(BASE | options))
    chooser = Chooser(chosen)
    request = Request(("in.png",), geometry_of(chooser.default, chosen), options=chosen)
    (task,) = make_plan(request, lambda task: {}).tasks
    return task_recipe(task, chooser, chosen)


@pytest.mark.parametrize("name", Options.names())
def test_results_depend_on_an_option_as_it_says(
    name: str, save: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save("in.png")
    Path("list.txt").write_text("in.png")
    (effect,) = (one.metadata["effect"] for one in fields(Options) if one.name == name)
    if name in CLIPS:
        assert effect == "resolved"
        return
    if name == "device":  # tests have only one device
        assert effect == "none"
        return
    others = TOGETHER.get(name, {})
    without = recipe() if name == "in_place" else recipe(**others)
    assert (recipe(**{**others, name: OTHERS[name]}) == without) == (effect == "none")


def test_options_of_the_engine_are_those_of_the_upscaler() -> None:
    signature = inspect.signature(Upscaler).parameters
    assert {*DEFAULTS.engine, "scale"} == signature.keys()
    for name, value in DEFAULTS.engine.items():
        assert name == "model" or value == signature[name].default


def test_options_that_were_added_later_leave_earlier_records_valid() -> None:
    assert "alpha" not in DEFAULTS.recorded
    assert Options(alpha="data").recorded["alpha"] == "data"


def test_options_of_clips_reach_clips() -> None:
    values: dict[str, Any] = {
        "video_codec": "libx265",
        "crf": 20,
        "preset": "slow",
        "pixel_format": "yuv444p",
        "codec_options": ("g=2",),
        "audio": "none",
        "deinterlace": True,
        "start": "1",
        "end": "2",
        "preview": 4,
        "fps": "25",
    }
    assert values.keys() == set(CLIPS)
    for name, value in values.items():
        assert Options(**{name: value}).clips != DEFAULTS.clips


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"threads": 0}, "the network needs at least 1 thread, not 0"),
        ({"nice": 20}, "20 is not a niceness"),
        ({"seamless": "z"}, "'z' is not a choice of borders"),
        ({"seamless": "x", "consistency": True}, "--seamless and --consistency contradict"),
        ({"alpha": "depth"}, "'depth' is not a meaning of alpha"),
        ({"workers": 0}, "the number of threads must be at least 1, not 0"),
        ({"scale": 2, "size": "50%"}, "a scale and a size cannot be used together"),
        ({"max_megapixels": 0}, "0 megapixels is not a valid limit"),
        ({"shard": "3/2"}, "3/2"),
        ({"metadata": "all,exif"}, "'all' is not a part"),
        ({"audio": "loud"}, "'loud' is not a choice for sound"),
        ({"crf": -1}, "-1 is not a valid quality"),
        ({"start": "2", "end": "1"}, "the end is not after the start"),
    ],
)
def test_values_are_checked_at_once(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        Options(**options)


def test_misspelt_options_are_named() -> None:
    with pytest.raises(TypeError, match="there is no option 'scales'; did you mean 'scale'"):
        Options.of({"scales": 2})


@pytest.mark.parametrize(
    ("name", "value"), [("scale", "2"), ("tile_px", [64]), ("max_megapixels", "10"), ("threads", "x")]
)
def test_what_should_be_a_number_is_named(name: str, value: object) -> None:
    with pytest.raises(TypeError, match=f"the option '{name}' must be a number, not "):
        Options.of({name: value})


def test_numbers_may_be_of_any_type() -> None:
    assert Options.of({"scale": np.float32(2), "threads": np.int64(1), "quality": None}).scale == 2
    assert Options.of({"preview": "auto"}).preview == "auto"
