"""Fixtures that make clips, decode them with PyAV alone, and run the job with a possible interruption."""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch.nn.modules.module import register_module_forward_pre_hook

from esc_cli.jobs.events import Event, Progressed
from esc_cli.jobs.upscale import Report, upscale_files

SIZE = (96, 128)
"""Height and width. At twice this size, x264 writes the same bytes each time, even with AVX-512."""

Plane = np.ndarray[Any, np.dtype[Any]]


def pattern(index: int, channels: int = 3) -> Plane:
    """Return frame ``index``, (H, W, channels): a smooth picture with a square that moves between frames."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    planes = (rows * 2, columns, rows + columns, 255 - columns)[:channels]
    picture = np.stack(planes, axis=-1).astype(np.uint8)
    picture[20:60, 4 * index : 4 * index + 30] = 200
    return picture


@pytest.fixture
def make_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that makes a clip of the frames ``shown`` in an empty current folder."""
    monkeypatch.chdir(tmp_path)

    def make(
        name: str = "in.mp4",
        shown: Sequence[int] = tuple(range(10)),
        *,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        rotation_deg: int = 0,
        options: dict[str, str] | None = None,
    ) -> Path:
        source, channels = ("rgba", 4) if "yuva" in pixel_format else ("rgb24", 3)
        with av.open(name, "w") as target:
            stream: Any = target.add_stream(codec, rate=25, options=options or {})
            stream.height, stream.width, stream.pix_fmt = *SIZE, pixel_format
            stream.set_display_rotation(rotation_deg)
            for time, index in enumerate(shown):
                frame = av.VideoFrame.from_ndarray(pattern(index, channels), source)
                frame = frame.reformat(format=pixel_format)
                frame.pts, frame.time_base = time, Fraction(1, 25)
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        return Path(name)

    return make


@pytest.fixture
def decoded() -> Callable[..., list[Plane]]:
    """Return a function that decodes all frames of a clip, in their own or another pixel format."""

    def decode(path: str | Path, pixel_format: str | None = None) -> list[Plane]:
        with av.open(path) as container:
            frames = container.decode(video=0)
            return [frame.to_ndarray(format=pixel_format or frame.format.name) for frame in frames]

    return decode


@pytest.fixture
def short_segments(monkeypatch: pytest.MonkeyPatch) -> int:
    """Make segments a few frames long, and return their length in frames.

    Only one frame may wait for the writer. An interrupted run drops the frames that wait, so the written
    frames are known: all except the last two that were reported.
    """
    frames = 4
    monkeypatch.setattr("esc_cli.jobs.pipeline.WAITING", 1)
    monkeypatch.setattr("esc_cli.jobs.clips.sinks.SEGMENT_FRAMES", frames)
    return frames


@pytest.fixture
def network_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Yield a list that gets one entry for each call of the baseline network on frames.

    The calls that estimate the time are left out.
    """
    monkeypatch.setattr("esc_cli.jobs.estimate._LARGEST_SHARE", 0.0)
    calls: list[int] = []
    hook = register_module_forward_pre_hook(  # type: ignore[no-untyped-call]
        lambda module, _: calls.append(1) if type(module).__name__ == "Interpolation" else None
    )
    yield calls
    hook.remove()


class Heard:
    """The events of a run. After ``interrupt_after`` frames the run is interrupted, as by Ctrl-C."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self._events: list[Event] = []
        self._interrupt_after = interrupt_after

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __call__(self, event: Event) -> None:
        self._events.append(event)
        if self._interrupt_after is not None and len(self.frames) >= self._interrupt_after:
            raise KeyboardInterrupt

    @property
    def frames(self) -> list[int]:
        """The number of frames done, at each progress event."""
        pixels = SIZE[0] * SIZE[1]
        return [event.done // pixels for event in self if isinstance(event, Progressed)]


@pytest.fixture
def upscale() -> Callable[..., tuple[Heard, Report]]:
    """Return a function that enlarges by 2 with the baseline; see ``Heard`` for ``interrupt_after``."""

    def run(*names: object, interrupt_after: int | None = None, **options: Any) -> tuple[Heard, Report]:
        heard = Heard(interrupt_after)
        chosen = {"model": "nearest", "device": "cpu", "scale": 2, **options}
        return heard, upscale_files([str(name) for name in names], listener=heard, **chosen)

    return run
