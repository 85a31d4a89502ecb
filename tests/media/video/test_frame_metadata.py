"""What comes with single frames: closed captions, HDR10+ and Dolby Vision, written into streams by hand."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.sidedata.sidedata import Type

from esc_cli.errors import InputError
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.video.clip import probe_clip
from esc_cli.media.video.containers import MATROSKA, MP4, WEBM
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.image_sequence import sequence_limitations
from esc_cli.media.video.mux import mux
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import caption_notes, check_settings

FRAMES = 12
START = b"\0\0\0\1"
QUIET = {"x265-params": "log-level=none:aud=1"}


def caption(number: int) -> bytes:
    """Return the bytes of a caption, three for each part. Source: CTA-708, 4.4."""
    return bytes((0xFC, 0x94, 0x20, 0xFC, 0x40 + number, 0x41))


def message(content: bytes, *, hevc: bool = False) -> bytes:
    """Return a registered user message (SEI, type 4). Source: ITU-T H.264, D.1.6; H.265, D.2.6."""
    return START + (b"\x4e\x01" if hevc else b"\x06") + bytes((4, len(content))) + content + b"\x80"


def captioned(
    path: Path,
    write: Callable[[int], bytes],
    codec: str = "libx265",
    options: dict[str, str] = QUIET,
    *,
    before: bool = True,
) -> Path:
    """Make a clip with a message in each frame, before or after its picture, in the order of the frames."""
    with av.open(path, "w") as target:
        stream: Any = target.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        packets = []
        for number in range(FRAMES):
            frame = av.VideoFrame.from_ndarray(np.full((96, 128, 3), 20 * number, np.uint8), "rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet in (*packets, *stream.encode(None)):
            content, number = bytes(packet), round(packet.pts * packet.time_base * 25)
            first = max(content.find(START[1:], 4), 0) if before else len(content)  # after a delimiter
            more = av.Packet(content[:first] + write(number) + content[first:])
            more.stream, more.pts, more.dts, more.time_base = stream, packet.pts, packet.dts, packet.time_base
            more.is_keyframe = packet.is_keyframe
            target.mux(more)
    return path


def side_data(path: Path, kind: str) -> list[bytes]:
    with av.open(path) as file:
        frames = list(file.decode(video=0))
    assert len(frames) == FRAMES
    return [bytes(data) for frame in frames for data in frame.side_data if data.type == Type[kind]]


def caption_message(number: int) -> bytes:
    parts = caption(number)
    head = b"\xb5\x00\x31GA94\x03" + bytes((0x40 | len(parts) // 3, 0xFF))
    return message(head + parts + b"\xff")


@pytest.fixture
def with_captions(tmp_path: Path) -> Path:
    return captioned(tmp_path / "in.mkv", caption_message, "libx264", {"x264-params": "aud=1:bframes=2"})


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p"])
def test_closed_captions_are_kept(with_captions: Path, codec: str, pixel_format: str) -> None:
    source, target = with_captions, with_captions.with_name("out.mkv")
    assert side_data(source, "A53_CC") == [caption(number) for number in range(FRAMES)]
    with VideoReader(source) as reader:
        clip = reader.clip
        settings = check_settings(clip, MATROSKA, EncodeSettings(codec, pixel_format=pixel_format))
        assert clip.captions
        assert caption_notes(clip, settings) == ()
        with SegmentWriter(source.with_name("segment"), clip, 192, 256, settings) as writer:
            for frame in reader:
                color = frame.color.repeat_interleave(2, -1).repeat_interleave(2, -2)
                writer.write(type(frame)(color, frame.pts, frame.duration, captions=frame.captions))
    mux([source.with_name("segment")], source, target, MATROSKA, clip)
    assert side_data(target, "A53_CC") == side_data(source, "A53_CC")
    with VideoReader(target) as reader:
        levels = [float(frame.color.float().mean()) for frame in reader]
    assert levels == pytest.approx(range(0, 20 * FRAMES, 20), abs=6)


def test_captions_of_interlaced_frames_are_kept(tmp_path: Path) -> None:
    options = {"x264-params": "aud=1:tff=1"}
    source = captioned(tmp_path / "in.mkv", caption_message, "libx264", options)
    with VideoReader(source, deinterlace=True) as reader:
        assert reader.clip.interlaced
        found = [
            bytes(next(iter(frame.captions.side_data))) for frame in reader if frame.captions is not None
        ]
    assert found == [caption(number) for number in range(FRAMES)]


def test_lost_captions_are_said(with_captions: Path, make_clip: Callable[..., Path]) -> None:
    clip = probe_clip(with_captions)
    (note,) = caption_notes(clip, check_settings(clip, WEBM, EncodeSettings()))
    assert note == "the encoder libvpx-vp9 cannot keep closed captions (libx264 and libx265 can)"
    assert "closed captions are not kept" in sequence_limitations(clip, FORMATS["PNG"])
    plain = probe_clip(make_clip())
    assert not plain.captions
    assert caption_notes(plain, check_settings(plain, MP4, EncodeSettings("ffv1"))) == ()


# Metadata for scenes.


def bits(*fields: tuple[int, int]) -> bytes:
    """Return fields, (value, number of bits), as bytes; a number of 0 means an exponential Golomb code."""
    text = ""
    for value, count in fields:
        code = f"{value + 1:b}"
        text += f"{value:0{count}b}" if count else "0" * (len(code) - 1) + code
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")


def hdr10_plus(_: int) -> bytes:
    """Return a message of HDR10+ with one window. Source: SMPTE ST 2094-40, CTA-861-H annex S."""
    window = [(10_000, 17)] * 3 + [(5_000, 17), (1, 4), (99, 7), (9_000, 17), (100, 10)]
    content = bits((4, 8), (1, 8), (1, 2), (400, 27), (0, 1), *window, (0, 1), (0, 1), (0, 1))
    return message(b"\xb5\x00\x3c\x00\x01" + content, hevc=True)


def dolby_vision(profile: int, *, full_range: bool) -> bytes:
    """Return Dolby Vision's metadata (RPU) for a frame. Source: ETSI GS CCM 001, 5.3 (syntax)."""
    fraction = (0x2AAAAA, 23)
    head = [(25, 8), (2, 6), (18, 11), (profile, 4), (6, 4), (1, 1), (0, 1), (0, 2), (23, 0), (1, 2)]
    depths = [(full_range, 1), (2, 0), (2, 0), (4, 0), (0, 1), (0, 3), (0, 1), (1, 1), (0, 1), (0, 1)]
    pivots = [(0, 0), (1, 10), (1022, 10)] * 3
    curves = [(0, 0), (0, 0), (0, 1), (0, 0), fraction, (1, 0), fraction] * 3
    content = bits(*head, *depths, *[(0, 0)] * 3, *pivots, (0, 0), (0, 0), *curves)
    return START + b"\x7c\x01" + content + b"\xaa\xaa\xaa\xaa\x80"


def test_lost_hdr10_plus_is_said(tmp_path: Path) -> None:
    clip = probe_clip(captioned(tmp_path / "in.mkv", hdr10_plus))
    (note,) = clip.notes
    assert note.startswith("HDR10+ cannot be kept")


def test_lost_dolby_vision_is_said(tmp_path: Path) -> None:
    def write(_: int) -> bytes:
        return dolby_vision(1, full_range=False)

    (note,) = probe_clip(captioned(tmp_path / "in.mkv", write, before=False)).notes
    assert note.startswith("Dolby Vision's metadata cannot be kept")


def test_dolby_vision_without_ordinary_colors_is_refused(tmp_path: Path) -> None:
    def write(_: int) -> bytes:
        return dolby_vision(0, full_range=True)

    source = captioned(tmp_path / "in.mkv", write, before=False)
    for opening in (probe_clip, VideoReader):
        with pytest.raises(InputError, match="is Dolby Vision of profile 5"):
            opening(source)
