"""Test that every encoder either makes a clip in a container or is refused before the work."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

from esc_cli.errors import UsageError
from esc_cli.jobs.events import Progressed
from esc_cli.media.video.clip import probe_clip
from esc_cli.media.video.containers import CONTAINERS, MATROSKA, Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.rehearsal import rehearse
from esc_cli.media.video.settings import check_settings

FRAMES = 8
WRITTEN = [container for container in CONTAINERS if not container.is_raw]


def accepts(container: Container, codec: str) -> bool:
    """Return whether a muxer lists a codec, which does not mean that it works."""
    with av.open(io.BytesIO(), "w", format=container.ffmpeg_name) as file:
        try:
            file.add_stream(codec, rate=25)
        except (ValueError, av.FFmpegError):
            return False
    return True


def encoders() -> list[str]:
    """Return the video encoders of this machine that a container lists."""
    names = set()
    for name in av.codecs_available:
        try:
            codec = av.Codec(name, "w")
        except (ValueError, av.codec.codec.UnknownCodecError):
            continue
        if codec.type == "video" and any(accepts(container, codec.name) for container in WRITTEN):
            names.add(codec.name)
    return sorted(names)


@pytest.mark.parametrize("source_name", ["in.mp4", "in.ts"])
@pytest.mark.parametrize("codec", encoders())
def test_an_encoder_makes_all_frames_or_is_refused_before_the_work(
    make_clip: Callable[..., Path], upscale: Callable[..., Any], codec: str, source_name: str
) -> None:
    source = make_clip(source_name, shown=range(FRAMES))
    for container in WRITTEN:
        if not accepts(container, codec):
            continue
        target = f"out{container.extensions[0]}"
        heard, report = upscale(source, output=target, video_codec=codec)
        if report.failures:
            assert isinstance(report.failures[0].error, UsageError), report.failures
            assert not any(isinstance(event, Progressed) for event in heard)
            continue
        assert times(target) == pytest.approx([number / 25 for number in range(FRAMES)], abs=0.002), target


def times(path: str) -> list[float]:
    """Return the times of all frames after the first one, which decode."""
    with av.open(path) as file:
        found = [float(frame.time or 0) for frame in file.decode(video=0)]
    return [time - found[0] for time in found]


@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video", "mpeg4"])
@pytest.mark.parametrize("name", ["in.mp4", "in.ts"])
def test_encoders_with_few_frame_rates_keep_the_times(
    make_clip: Callable[..., Path], upscale: Callable[..., Any], name: str, codec: str
) -> None:
    """The time base of these clips, 1/12800 and 1/90000, is not one that the encoders take."""
    _, report = upscale(make_clip(name, shown=range(60)), output="out.mkv", video_codec=codec)
    assert report.failures == ()
    assert times("out.mkv") == pytest.approx([number / 25 for number in range(60)], abs=0.002)


def test_a_size_that_an_encoder_does_not_take_is_refused_before_the_work(
    make_clip: Callable[..., Path],
) -> None:
    clip = probe_clip(make_clip())
    settings = check_settings(clip, MATROSKA, EncodeSettings("mpeg1video"))
    rehearse(clip, MATROSKA, (96, 128), settings)
    with pytest.raises(UsageError, match="mpeg1video cannot make this clip in Matroska, with frames of 8192"):
        rehearse(clip, MATROSKA, (4096, 8192), settings)
