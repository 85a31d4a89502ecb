"""Make small clips for the tests, and examine files with FFmpeg's own programs."""

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from esc_cli.media.video.frame import Frame

SIZE = (48, 64)
VARIABLE = (0, 1001, 2002, 4004, 5005, 9009, 10010, 11011, 12012, 15015)
"""Timestamps of frames at 29.97 frames per second, some of which are missing, in units of 1/30000 s."""

Maker = Callable[..., Path]
FrameMaker = Callable[..., list[Frame]]
Probe = Callable[..., Any]


def pattern(index: int, size: tuple[int, int] = SIZE) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return a smooth picture, (H, W, 3), with a square that moves with the index, so that frames differ."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    picture = np.stack((rows * 3 + 20, columns * 2 + 40, (rows + columns) + 30), axis=-1).astype(np.uint8)
    picture[8:24, 2 * index : 2 * index + 16] = (200, 60, 90)
    return picture


@pytest.fixture
def make_frames() -> FrameMaker:
    """Return a function that makes 8-bit frames with given timestamps."""

    def make(times: Sequence[int] = VARIABLE, size: tuple[int, int] = SIZE) -> list[Frame]:
        pictures = (torch.from_numpy(pattern(i, size)).permute(2, 0, 1)[None] for i in range(len(times)))
        return [Frame(color.contiguous(), time) for color, time in zip(pictures, times, strict=True)]

    return make


def add_sound(target: Any, codec: str, language: str, rate: int = 48000) -> Callable[[], None]:
    """Add a track of noise, and return a function that writes half a second of it."""
    stream = target.add_stream(codec, rate=rate, layout="mono")
    stream.metadata["language"] = language
    noise = np.random.default_rng(1).normal(0, 0.1, (1, rate // 2)).astype(np.float32)

    def finish() -> None:
        for start in range(0, noise.shape[1], 960):
            part = np.ascontiguousarray(noise[:, start : start + 960])
            frame = av.AudioFrame.from_ndarray(part, "fltp", "mono")
            frame.sample_rate, frame.pts = rate, start
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))

    return finish


@pytest.fixture
def make_clip(tmp_path: Path) -> Maker:
    """Return a function that makes a clip with PyAV alone.

    Its ``sound`` lists tracks of noise, (codec, language); ``more`` may change the file and its video stream.
    """

    def make(
        name: str = "in.mp4",
        *,
        codec: str = "libx264",
        pixel_format: str = "yuv420p",
        times: Sequence[int] = VARIABLE,
        time_base: Fraction = Fraction(1, 30000),
        size: tuple[int, int] = SIZE,
        options: dict[str, str] | None = None,
        sound: Sequence[tuple[str, str]] = (),
        more: Callable[[Any, Any], None] = lambda target, stream: None,
    ) -> Path:
        path = tmp_path / name
        with av.open(path, "w") as target:
            stream: Any = target.add_stream(codec, rate=Fraction(30000, 1001), options=options or {})
            stream.height, stream.width = size
            stream.pix_fmt = pixel_format
            stream.time_base = stream.codec_context.time_base = time_base
            sounds = [add_sound(target, *track) for track in sound]
            more(target, stream)
            for index, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(pattern(index, size), "rgb24").reformat(
                    format=pixel_format
                )
                frame.pts, frame.time_base = time, time_base
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
            for finish in sounds:
                finish()
        return path

    return make


@pytest.fixture
def ffprobe() -> Probe:
    """Return a function that examines a file with ffprobe and returns the parsed output."""
    if shutil.which("ffprobe") is None:
        pytest.skip("ffprobe is not here")

    def ask(path: Path, *arguments: str) -> Any:
        command = ["ffprobe", "-v", "error", "-of", "json", *arguments, str(path)]
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    return ask


@pytest.fixture
def ffmpeg() -> Callable[..., bytes]:
    """Return a function that runs the ffmpeg program and returns its output."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not here")

    def run(*arguments: str | Path) -> bytes:
        command = ["ffmpeg", "-v", "error", "-y", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=True).stdout

    return run
