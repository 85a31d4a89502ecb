import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import pytest
from av import VideoFrame
from av.sidedata.sidedata import Type

from esc_cli.errors import InputError
from esc_cli.media.video.clip import _display_matrix, probe_clip

Maker = Callable[..., Path]
Probe = Callable[..., Any]


@pytest.mark.parametrize(
    ("name", "codec", "pixel_format"),
    [
        ("a.mp4", "libx264", "yuv420p"),
        ("a.mov", "libx265", "yuv422p10le"),
        ("a.mkv", "ffv1", "gray10le"),
        ("a.webm", "libvpx-vp9", "yuv420p"),
    ],
)
def test_facts_by_ffprobe(make_clip: Maker, ffprobe: Probe, name: str, codec: str, pixel_format: str) -> None:
    path = make_clip(name, codec=codec, pixel_format=pixel_format, options={"x265-params": "log-level=none"})
    clip = probe_clip(path)
    stream = ffprobe(path, "-show_streams")["streams"][0]
    assert (clip.codec, clip.pixel_format) == (stream["codec_name"], stream["pix_fmt"])
    assert (clip.height, clip.width) == (stream["height"], stream["width"])
    assert clip.time_base == Fraction(stream["time_base"])
    assert clip.frame_rate == Fraction(stream["avg_frame_rate"])
    assert clip.container == {"mp4": "mp4", "mov": "mov", "mkv": "matroska", "webm": "webm"}[name[2:]]
    assert clip.depth_bits == (10 if "10" in pixel_format else 8)
    assert clip.gray == ("gray" in pixel_format)
    assert not clip.alpha
    assert not clip.interlaced


def test_colors_aspect_and_rotation(make_clip: Maker) -> None:
    def more(_: Any, stream: Any) -> None:
        context = stream.codec_context
        context.color_range, context.colorspace = 2, 9
        context.color_primaries, context.color_trc = 9, 16
        context.sample_aspect_ratio = Fraction(4, 3)
        stream.set_display_rotation(90)

    clip = probe_clip(make_clip(more=more))
    assert clip.color.full_range
    assert (clip.color.matrix, clip.color.primaries, clip.color.transfer) == (9, 9, 16)
    assert clip.sample_aspect_ratio == Fraction(4, 3)
    assert clip.rotation_deg == 90
    assert clip.display_matrix == (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30)


def test_hdr10(make_clip: Maker) -> None:
    parameters = "log-level=none:master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)"
    options = {"x265-params": parameters + "L(10000000,50):max-cll=1000,400"}
    hdr = probe_clip(make_clip(codec="libx265", pixel_format="yuv420p10le", options=options)).hdr
    assert hdr is not None
    assert hdr.primaries[0] == (Fraction(34000, 50000), Fraction(16000, 50000))  # red
    assert hdr.primaries[1] == (Fraction(13250, 50000), Fraction(34500, 50000))  # green
    assert hdr.luminance == (Fraction(50, 10000), Fraction(1000))
    assert (hdr.max_content, hdr.max_average) == (1000, 400)


def test_the_cover_of_an_album_is_no_clip(tmp_path: Path, make_clip: Maker) -> None:
    path = tmp_path / "cover.mp4"
    with av.open(path, "w") as target:
        stream: Any = target.add_stream("mjpeg", rate=1)
        stream.height, stream.width, stream.pix_fmt = 16, 16, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        target.mux(stream.encode(av.VideoFrame(16, 16, "yuvj420p")))
        target.mux(stream.encode(None))
    with pytest.raises(InputError, match="has no video stream"):
        probe_clip(path)


def test_a_file_object(make_clip: Maker) -> None:
    path = make_clip()
    assert probe_clip(io.BytesIO(path.read_bytes())) == probe_clip(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"no clip at all, but a text" * 50, "is not a clip that this program can read"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2", "cut off"),
        (b"\x1aE\xdf\xa3\x9f\x42\x86\x81\x01", "cut off"),
    ],
)
def test_what_is_no_clip(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        probe_clip(path)


def test_a_folder_and_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        probe_clip(tmp_path)
    with pytest.raises(InputError, match="there is no such file"):
        probe_clip(tmp_path / "none.mp4")


def test_sound_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(path, "w") as target:
        stream: Any = target.add_stream("aac", rate=48000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate, frame.pts = 48000, 0
        frame.planes[0].update(bytes(4096))
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    with pytest.raises(InputError, match="has no video stream"):
        probe_clip(path)


def test_an_unknown_codec(make_clip: Maker) -> None:
    path = make_clip("a.mkv", codec="ffv1")
    path.write_bytes(path.read_bytes().replace(b"V_FFV1", b"V_ABCD"))
    with pytest.raises(InputError, match="codec that this program does not know"):
        probe_clip(path)


def test_side_data_without_a_name_is_passed_over() -> None:
    """PyAV gives no side data at all of a frame that has a kind it has no name for."""

    class Frame:
        @property
        def side_data(self) -> object:
            return Type(29)

    with pytest.raises(ValueError, match="29"):
        _ = Frame().side_data
    assert _display_matrix(cast(VideoFrame, Frame())) == ()


def test_vp9_with_alpha_keeps_the_tags_of_its_container(make_clip: Maker) -> None:
    """The decoder that shows alpha does not know primaries and transfer."""

    def more(_: Any, stream: Any) -> None:
        context = stream.codec_context
        context.colorspace, context.color_primaries, context.color_trc, context.color_range = 5, 1, 1, 1

    color = probe_clip(make_clip("in.webm", codec="libvpx-vp9", pixel_format="yuva420p", more=more)).color
    assert (color.matrix, color.primaries, color.transfer) == (5, 1, 1)
