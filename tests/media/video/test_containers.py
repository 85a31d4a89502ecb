"""Test that every container keeps what the trial of its muxer before the work does not check."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import (
    CLIP_EXTENSIONS,
    CONTAINERS,
    Container,
    EncodeSettings,
    container_like,
    container_named,
)
from esc_cli.media.video.encoding import SegmentWriter, check_settings
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import Frame, VideoReader

Maker = Callable[..., Path]
FILES = [container for container in CONTAINERS if not container.is_raw]


@pytest.mark.parametrize("container", CONTAINERS, ids=lambda one: one.name)
def test_each_is_found_by_its_names(container: Container) -> None:
    assert container_like(container.ffmpeg_name) is container
    for extension in container.extensions:
        assert container_named(extension.upper()) is container
        assert extension in CLIP_EXTENSIONS
    assert container.result_bytes(10**6, 8) > 0


def written(clip: Clip, frames: list[Frame], container: Container, folder: Path) -> Path:
    target = folder / f"out{container.extensions[0]}"
    settings = check_settings(clip, container, EncodeSettings())
    with SegmentWriter(folder / "segment", clip, clip.height, clip.width, settings) as writer:
        for frame in frames:
            writer.write(frame)
    mux([folder / "segment"], None, target, container, clip)
    return target


@pytest.mark.parametrize("container", FILES, ids=lambda one: one.name)
def test_each_keeps_rotation_colors_and_the_first_timestamp(
    make_clip: Maker, container: Container, tmp_path: Path
) -> None:
    with VideoReader(make_clip(more=lambda _, stream: stream.set_display_rotation(90))) as reader:
        color = replace(reader.clip.color, matrix=1, primaries=9, transfer=1)
        clip, frames = replace(reader.clip, color=color), list(reader)
    with VideoReader(written(clip, frames, container, tmp_path)) as reader:
        kept, first = reader.clip, next(iter(reader))
    assert kept.rotation_deg == clip.rotation_deg == 90
    assert (kept.color.matrix, kept.color.primaries, kept.color.transfer) == (1, 9, 1)
    assert (first.pts - kept.origin_s / kept.time_base, frames[0].pts) == (0, 0)


@pytest.mark.parametrize("container", FILES, ids=lambda one: one.name)
def test_each_keeps_alpha_if_it_names_an_encoder_for_it(
    make_clip: Maker, container: Container, tmp_path: Path
) -> None:
    with VideoReader(make_clip("in.mkv", codec="ffv1", pixel_format="yuva420p")) as reader:
        clip, frames = reader.clip, list(reader)
    assert clip.alpha
    with VideoReader(written(clip, frames, container, tmp_path)) as reader:
        assert reader.clip.alpha == (container.alpha_codec is not None)
