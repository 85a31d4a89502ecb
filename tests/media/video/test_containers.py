import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import (
    CLIP_EXTENSIONS,
    CONTAINERS,
    Container,
    container_like,
    container_named,
    is_webm,
    looks_like_clip,
)
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings

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


def box(brand: bytes) -> bytes:
    return struct.pack(">I4s4sI", 24, b"ftyp", brand, 0) + brand * 2


CLIPS = {
    "mp4": box(b"isom"),
    "mov": box(b"qt  "),
    "old mov": struct.pack(">I4s", 8, b"wide"),
    "matroska": b"\x1aE\xdf\xa3\x93\x42\x82\x88matroska",
    "y4m": b"YUV4MPEG2 W16 H16",
    "avi": b"RIFF\x00\x00\x00\x00AVI LIST",
    "mpeg-ts": (b"\x47" + bytes(187)) * 5,
    "m2ts": (bytes(4) + b"\x47" + bytes(187)) * 5,
    "flv": b"FLV\x01\x05",
    "dv": b"\x1f\x07\x00\xbf\xf8\x78\x78\x78",
}
OTHERS = {
    "avif": box(b"avif"),
    "avif sequence": box(b"avis"),
    "heic": box(b"heic"),
    "jpeg xl": struct.pack(">I4sI", 12, b"JXL ", 0x0D0A870A) + box(b"jxl "),
    "icon": struct.pack("<HHHBBBB", 0, 1, 1, 32, 32, 0, 0),
    "icon of many pictures": struct.pack("<HHHBBBB", 0, 1, 0x20, 32, 32, 0, 0),
    "cursor": struct.pack("<HHHBBBB", 0, 2, 1, 32, 32, 0, 0),
    "targa": struct.pack("<BBBHHB", 0, 0, 2, 0, 0, 0),
    "start code alone": b"\x00\x00\x00\x01",
    "webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "png": b"\x89PNG\r\n\x1a\n",
    "a text with G": b"Good morning, dear reader" * 60,
    "nothing": b"",
}


@pytest.mark.parametrize("name", CLIPS)
def test_clips(name: str) -> None:
    assert looks_like_clip(CLIPS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_no_clips(name: str) -> None:
    assert not looks_like_clip(OTHERS[name])


RAW = {
    "h264": ("libx264", "h264", {}),
    "h264 with delimiters": ("libx264", "h264", {"x264-params": "aud=1"}),
    "hevc": ("libx265", "hevc", {"x265-params": "log-level=none"}),
    "hevc with delimiters": ("libx265", "hevc", {"x265-params": "log-level=none:aud=1"}),
    "mpeg4": ("mpeg4", "m4v", {}),
    "mpeg2": ("mpeg2video", "mpeg2video", {}),
}


@pytest.mark.parametrize("kind", RAW)
def test_streams_without_a_container_are_clips(kind: str, tmp_path: Path) -> None:
    codec, muxer, options = RAW[kind]
    raw = tmp_path / "a name without an extension"
    with av.open(raw, "w", format=muxer) as file:
        stream = file.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 20 * number, np.uint8), "rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p")))
        file.mux(stream.encode(None))
    assert looks_like_clip(raw.read_bytes()[:1000])
    with VideoReader(raw) as reader:
        levels = [float(frame.color.float().mean()) for frame in reader]
    assert levels == pytest.approx(range(0, 200, 20), abs=6)


def test_webm_is_told_from_matroska() -> None:
    assert is_webm(b"\x1aE\xdf\xa3\x9fB\x86\x81\x01\x42\x82\x84webm")
    assert not is_webm(CLIPS["matroska"])
