import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from av import VideoFrame

from esc_cli.errors import DiskFullError, OutputError
from esc_cli.media.video.clip import Clip, ColorTags, Hdr, probe_clip
from esc_cli.media.video.containers import MATROSKA, MP4
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter, StreamWriter
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.pixels import to_frame
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings

Maker = Callable[..., Path]
FrameMaker = Callable[..., list[Frame]]


@pytest.fixture
def clip(make_clip: Maker) -> Clip:
    return probe_clip(make_clip())


def segment(path: Path, clip: Clip, frames: list[Frame], settings: EncodeSettings) -> Path:
    with SegmentWriter(path, clip, *frames[0].color.shape[-2:], settings) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9"])
def test_the_same_frames_give_the_same_bytes(
    tmp_path: Path, clip: Clip, make_frames: FrameMaker, codec: str
) -> None:
    """With AVX-512, x264 produced different bytes in half of the files of this size."""
    settings = check_settings(clip, MATROSKA, EncodeSettings(codec))
    frames = make_frames(size=(64, 320))
    first, second = (segment(tmp_path / name, clip, frames, settings) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_narrow_h265_does_not_abort_the_process(tmp_path: Path, clip: Clip, make_frames: FrameMaker) -> None:
    """x265 aborted within four files of 40x24 pixels."""
    settings = check_settings(clip, MATROSKA, EncodeSettings("libx265"))
    for number in range(4):
        segment(tmp_path / str(number), clip, make_frames(size=(24, 40)), settings)


@pytest.mark.parametrize("start", [-1001, 0, 12345])
def test_times_and_colors_come_back(tmp_path: Path, clip: Clip, make_frames: FrameMaker, start: int) -> None:
    """FFV1 is lossless, so in 4:4:4 only the rounding of colors makes a difference."""
    settings = check_settings(clip, MATROSKA, EncodeSettings("ffv1", pixel_format="yuv444p"))
    frames = [replace(frame, pts=frame.pts + start) for frame in make_frames()]
    with VideoReader(segment(tmp_path / "a", clip, frames, settings)) as reader:
        back = list(reader)
    assert [b.pts for b in back] == [f.pts - start for f in frames]
    assert max((b.color.int() - f.color.int()).abs().max() for b, f in zip(back, frames, strict=True)) <= 2


@pytest.mark.parametrize("grain", [0, 12, 80])
@pytest.mark.parametrize(
    "codec",
    [
        "libx264",
        "libx265",
        "libvpx-vp9",
        "libsvtav1",
        "mjpeg",
        "mpeg1video",
        "mpeg2video",
        "mpeg4",
        "msmpeg4",
    ],
)
def test_the_default_keeps_even_grain_and_noise(tmp_path: Path, clip: Clip, codec: str, grain: int) -> None:
    """The mean PSNR of luma is 38 dB or more, and 36 dB for pure noise, as ``docs/clips.md`` says."""
    generator = torch.Generator().manual_seed(1)
    rows, columns = torch.meshgrid(torch.arange(144.0), torch.arange(176.0), indexing="ij")
    frames = []
    for index in range(8):
        smooth = 128 + 50 * torch.sin((columns + 2 * index) / 31) + 40 * torch.cos(rows / 47)
        picture = (smooth + grain * torch.randn(144, 176, generator=generator)).round().clamp(0, 255)
        color = picture.to(torch.uint8).expand(1, 3, 144, 176).contiguous()
        frames.append(Frame(color, index * 1001, 1001))
    format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    settings = check_settings(clip, MATROSKA, EncodeSettings(codec, pixel_format=format))
    with av.open(segment(tmp_path / "a", clip, frames, settings)) as file:
        encoded = [luma(frame) for frame in file.decode(video=0)]
    given = [luma(to_frame(frame.color, None, format, clip.color)) for frame in frames]
    error = np.mean([np.square(a - b).mean() for a, b in zip(encoded, given, strict=True)])
    assert 10 * np.log10(255**2 / error) > {0: 47, 12: 38, 80: 36}[grain]


def luma(frame: VideoFrame) -> np.ndarray[Any, Any]:
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(plane.height, -1)[:, : plane.width].astype(float)


def test_colors_aspect_and_hdr_are_written(
    tmp_path: Path, clip: Clip, make_frames: FrameMaker, ffprobe: Callable[..., Any]
) -> None:
    half = Fraction(1, 2)
    hdr = Hdr(((half, half),) * 4, (Fraction(1, 100), Fraction(1000)), 900, 300)
    clip = replace(
        clip, color=ColorTags(False, 9, 9, 16), depth_bits=10, pixel_format="yuv420p10le", hdr=hdr,
        sample_aspect_ratio=Fraction(4, 3),
    )  # fmt: skip
    deep = [replace(f, color=(f.color.int() * 257).to(torch.uint16)) for f in make_frames()]
    path = segment(tmp_path / "a", clip, deep, check_settings(clip, MP4, EncodeSettings()))
    probed = ffprobe(path, "-show_streams", "-show_frames", "-read_intervals", "%+#1")
    stream, frame = probed["streams"][0], probed["frames"][0]
    assert stream["pix_fmt"] == "yuv420p10le"
    assert (stream["color_range"], stream["color_space"]) == ("tv", "bt2020nc")
    assert (stream["color_primaries"], stream["color_transfer"]) == ("bt2020", "smpte2084")
    assert stream["sample_aspect_ratio"] == "4:3"
    sides = {side["side_data_type"]: side for side in frame["side_data_list"]}
    assert sides["Mastering display metadata"]["red_x"] == "25000/50000"
    assert sides["Mastering display metadata"]["max_luminance"] == "10000000/10000"
    assert sides["Content light level metadata"]["max_content"] == 900


@pytest.mark.parametrize("transfer", [16, 18], ids=["HDR10", "HLG"])
def test_hdr_comes_back(tmp_path: Path, clip: Clip, make_frames: FrameMaker, transfer: int) -> None:
    half = Fraction(1, 2)
    hdr = Hdr(((half, half),) * 4, (Fraction(1, 100), Fraction(1000)), 900, 300)
    colors = ColorTags(False, 9, 9, transfer)
    clip = replace(clip, color=colors, depth_bits=10, pixel_format="yuv420p10le", hdr=hdr)
    deep = [replace(f, color=(f.color.int() * 257).to(torch.uint16)) for f in make_frames()]
    path = segment(tmp_path / "a", clip, deep, check_settings(clip, MATROSKA, EncodeSettings()))
    found = probe_clip(path)
    assert (found.depth_bits, found.color, found.hdr) == (10, colors, hdr)


@pytest.mark.parametrize("location", ["left", "center", "topleft"])
@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "ffv1"])
def test_colors_do_not_move(
    tmp_path: Path, make_clip: Maker, make_frames: FrameMaker, codec: str, location: str
) -> None:
    """Slopes of color stay in place, whichever location of chroma the source states.

    If chroma were written at the center of pixels, the differences would be 0.61 to 0.8.
    """
    options = {"chroma_sample_location": location, "crf": "0"}
    path = make_clip(times=range(0, 3003, 1001), options=options)
    with VideoReader(path) as reader:
        clip, low = reader.clip, list(reader)
    exact = () if codec == "ffv1" else (("crf", "0"),)
    settings = check_settings(clip, MATROSKA, EncodeSettings(codec, pixel_format="yuv420p", options=exact))
    with VideoReader(segment(tmp_path / "a", clip, low, settings)) as reader:
        high = list(reader)
    moved = [(a.color.float() - b.color.float()).abs().mean() for a, b in zip(low, high, strict=True)]
    assert max(moved) < 0.58


def test_an_encoder_that_was_stopped_leaves_no_error(
    tmp_path: Path, clip: Clip, make_frames: FrameMaker
) -> None:
    settings = check_settings(clip, MP4, EncodeSettings())
    with pytest.raises(KeyboardInterrupt), SegmentWriter(tmp_path / "a", clip, 48, 64, settings) as writer:
        writer.write(make_frames()[0])
        raise KeyboardInterrupt


def test_no_such_folder(tmp_path: Path, clip: Clip, make_frames: FrameMaker) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        segment(tmp_path / "none" / "a", clip, make_frames(), EncodeSettings())


def test_a_full_disk(clip: Clip, make_frames: FrameMaker) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises(DiskFullError, match="the disk is full"):
        segment(full, clip, make_frames(), EncodeSettings("ffv1"))


class Pipe(io.RawIOBase):
    """A stream that takes bytes and cannot seek."""

    def __init__(self) -> None:
        self.content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.content += bytes(data)
        return len(data)


@pytest.mark.parametrize(
    ("pixel_format", "depth_bits", "mark"),
    [
        ("yuv420p", 8, b"C420"),
        ("yuv422p", 8, b"C422"),
        ("yuv444p", 8, b"C444"),
        ("gray", 8, b"Cmono"),
        ("yuv420p10le", 10, b"C420p10"),
    ],
)
def test_yuv4mpeg2_into_a_pipe(
    clip: Clip, make_frames: FrameMaker, pixel_format: str, depth_bits: int, mark: bytes
) -> None:
    clip = replace(clip, pixel_format=pixel_format, depth_bits=depth_bits, gray=pixel_format == "gray")
    frames = make_frames()
    if depth_bits > 8:
        frames = [replace(f, color=(f.color.int() * 257).to(torch.uint16)) for f in frames]
    pipe = Pipe()
    with StreamWriter(pipe, clip, 48, 64) as writer:
        for frame in frames:
            writer.write(frame)
    header = bytes(pipe.content).split(b"\n", 1)[0]
    assert b"W64 H48" in header
    assert any(word.startswith(mark) for word in header.split(b" "))
    assert not pipe.closed
    with VideoReader(io.BytesIO(bytes(pipe.content))) as reader:
        assert reader.clip.depth_bits == depth_bits
        back = list(reader)
    assert len(back) == len(frames)
    assert [b.pts for b in back] == list(range(10))


@pytest.mark.parametrize(
    ("rate", "time_base", "stated"),
    [
        (Fraction(25), Fraction(1, 12800), b"F25:1"),
        (Fraction(30000, 1001), Fraction(1, 1000), b"F30000:1001"),
        (None, Fraction(1, 1000), b"F25:1"),
    ],
)
def test_yuv4mpeg2_has_the_mean_rate(
    clip: Clip, make_frames: FrameMaker, rate: Fraction | None, time_base: Fraction, stated: bytes
) -> None:
    pipe = Pipe()
    with StreamWriter(pipe, replace(clip, frame_rate=rate, time_base=time_base), 48, 64) as writer:
        for frame in make_frames():
            writer.write(replace(frame, pts=700 * frame.pts + 3))
    assert stated in bytes(pipe.content).split(b"\n", 1)[0].split(b" ")
    with VideoReader(io.BytesIO(bytes(pipe.content))) as reader:
        assert [back.pts for back in reader] == list(range(10))


@pytest.fixture(autouse=True)
def _no_words(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Check that no encoder writes to the terminal."""
    yield
    assert capfd.readouterr() == ("", "")
