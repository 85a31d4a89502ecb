from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from esc_cli.errors import DamageError, InputError, OutputError, UsageError
from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.color.profiles import power_curve, rgb_profile
from esc_cli.media.color.signalling import PRIMARIES
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile, WriteSettings
from esc_cli.media.read import read_file
from esc_cli.media.video.clip import Clip, probe_clip
from esc_cli.media.video.containers import MATROSKA
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.image_sequence import SequenceReader, SequenceWriter, sequence_limitations
from esc_cli.media.video.reader import VideoReader
from esc_cli.media.video.settings import check_settings
from esc_cli.media.write import encode_file

FILM = Fraction(24000, 1001)
Maker = Callable[..., Path]
FrameMaker = Callable[..., list[Frame]]
PictureMaker = Callable[..., Picture]
Run = Callable[..., bytes]


def as_image(color: Any) -> Any:
    """Return a tensor of shape (1, 3, H, W) as an array of (H, W, 3), for Pillow."""
    return color[0].permute(1, 2, 0).numpy()


def save(folder: Path, frames: list[Frame], first: int = 1, **options: Any) -> str:
    """Write frames with Pillow instead of this program, and return the name of the sequence."""
    for number, frame in enumerate(frames, first):
        Image.fromarray(as_image(frame.color)).save(folder / f"{number:03d}.png", **options)
    return f"{folder}/%03d.png"


def save_pictures(folder: Path, pictures: list[Picture], format: str = "PNG") -> str:
    for number, picture in enumerate(pictures):
        (folder / f"{number}.pic").write_bytes(encode_file(PictureFile((picture,)), FORMATS[format]))
    return f"{folder}/%d.pic"


def deep(picture: Picture, bits: int = 16) -> Picture:
    """Return the picture with 16 bits per channel, or as floats."""

    def wide(planes: Any) -> Any:
        return (planes.to(torch.int32) * 257).to(torch.uint16) if bits == 16 else planes.float() / 255

    alpha = None if picture.alpha is None else wide(picture.alpha)
    return replace(picture, color=wide(picture.color), alpha=alpha, depth_bits=bits)


# Reading


def test_frames_and_facts(tmp_path: Path, make_frames: FrameMaker) -> None:
    frames = make_frames(range(5))
    with SequenceReader(save(tmp_path, frames, first=7), FILM) as reader:
        seen, read = reader.peek(), list(reader)
        clip = reader.clip
    assert torch.equal(seen, read[0].color)
    assert [(frame.pts, frame.duration, frame.alpha) for frame in read] == [(i, 1, None) for i in range(5)]
    assert all(torch.equal(a.color, b.color) for a, b in zip(read, frames, strict=True))
    assert (clip.container, clip.codec, clip.height, clip.width) == ("image2", "png", 48, 64)
    assert (clip.frames, clip.frame_rate, clip.time_base) == (5, FILM, Fraction(1001, 24000))
    assert clip.duration_s == pytest.approx(5 * 1001 / 24000)
    assert (clip.pixel_format, clip.depth_bits, clip.alpha, clip.gray) == ("yuv420p", 8, False, False)
    assert clip.notes == ()
    assert reader.skipped == 0


def test_from_the_middle_and_to_the_end(tmp_path: Path, make_frames: FrameMaker) -> None:
    pattern = save(tmp_path, make_frames(range(6)))
    with SequenceReader(pattern, Fraction(25), start_s=0.05, end_s=0.2) as reader:
        assert [frame.pts for frame in reader] == [2, 3, 4]
        assert [frame.pts for frame in reader] == [2, 3, 4]
        assert [frame.pts for frame in reader.frames_from(4)] == [4]
        assert reader.clip.frames == 6
    with SequenceReader(pattern, Fraction(25), start_s=9, end_s=20) as reader:
        assert list(reader) == []


@pytest.mark.parametrize(
    ("format", "bits", "alpha"),
    [
        (name, bits, alpha)
        for name, depths in {"PNG": (8, 16), "TIFF": (8, 16), "WEBP": (8,), "JPEG": (8,)}.items()
        for bits in depths
        for alpha in (False, True)
        if FORMATS[name].alpha or not alpha
    ],
)
def test_every_kind(tmp_path: Path, make_picture: PictureMaker, format: str, bits: int, alpha: bool) -> None:
    picture = make_picture(alpha=alpha) if bits == 8 else deep(make_picture(alpha=alpha))
    with SequenceReader(save_pictures(tmp_path, [picture] * 2, format), FILM) as reader:
        frame = next(iter(reader))
    assert reader.clip.codec == format.lower()
    assert reader.clip.alpha is (frame.alpha is not None) is alpha
    assert reader.clip.depth_bits == (8 if bits == 8 else 10)
    assert frame.color.dtype == picture.color.dtype
    if format != "JPEG":
        # Pillow's WebP drops colors where they are invisible.
        assert torch.equal(frame.color[..., 1:], picture.color[..., 1:])
        if frame.alpha is not None and picture.alpha is not None:
            assert torch.equal(frame.alpha, picture.alpha)


def test_gray_only_if_all_are(tmp_path: Path, make_picture: PictureMaker) -> None:
    """Programs that reduce the size of files store the black frame at the beginning of a film as gray."""
    gray, color = make_picture(gray=True), make_picture()
    with SequenceReader(save_pictures(tmp_path, [gray, gray]), FILM) as reader:
        assert (reader.clip.gray, reader.clip.pixel_format) == (True, "gray")
        assert reader.clip.color.full_range
    with SequenceReader(save_pictures(tmp_path, [gray, color]), FILM) as reader:
        assert (reader.clip.gray, reader.clip.pixel_format) == (False, "yuv420p")
        assert not reader.clip.color.full_range


def test_floats_become_16_bits(tmp_path: Path, make_picture: PictureMaker) -> None:
    pattern = save_pictures(tmp_path, [deep(make_picture(), 32)], "TIFF")
    with SequenceReader(pattern, FILM) as reader:
        assert torch.equal(next(iter(reader)).color, deep(make_picture()).color)
    assert reader.clip.notes == ("floats are converted to 16 bits per channel, and NaN to black",)


def test_colors_become_srgb(tmp_path: Path, make_picture: PictureMaker) -> None:
    profile = rgb_profile(PRIMARIES[9], power_curve(2.2))
    picture = make_picture(metadata=Metadata(icc_profile=profile))
    with SequenceReader(save_pictures(tmp_path, [picture]), FILM) as reader:
        color = next(iter(reader)).color
    assert torch.equal(color, to_srgb(picture).color)
    assert not torch.equal(color, picture.color)
    assert reader.clip.notes == ("the pictures are converted from their color profiles to sRGB",)


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"height": 25}, "40x25 pixels of 8 bits without"),
        ({"alpha": True}, "of 8 bits with transparency"),
        ({"bits": 16}, "of more than 8 bits without"),
    ],
)
def test_a_picture_of_another_kind_is_named(
    tmp_path: Path, make_picture: PictureMaker, other: dict[str, Any], what: str
) -> None:
    bits = other.pop("bits", 8)
    different = make_picture(**other) if bits == 8 else deep(make_picture())
    pattern = save_pictures(tmp_path, [make_picture(), different])
    with pytest.raises(InputError, match=rf"/1\.pic has .*{what}.*, but the sequence began with 40x24"):
        SequenceReader(pattern, FILM)


def test_a_picture_that_changes_meanwhile_is_named(tmp_path: Path, make_picture: PictureMaker) -> None:
    pattern = save_pictures(tmp_path, [make_picture()] * 2)
    with SequenceReader(pattern, FILM) as reader:
        save_pictures(tmp_path, [make_picture(), make_picture(30)])
        with pytest.raises(InputError, match=r"/1\.pic has 40x30"):
            list(reader)


def test_an_animation_is_no_frame(tmp_path: Path, make_frames: FrameMaker) -> None:
    images = [Image.fromarray(as_image(frame.color)) for frame in make_frames(range(3))]
    images[0].save(tmp_path / "1.png", save_all=True, append_images=images[1:])
    with pytest.raises(InputError, match=r"1\.png contains 3 frames"):
        SequenceReader(f"{tmp_path}/%d.png", FILM)


def test_no_picture_and_a_damaged_one(tmp_path: Path, make_frames: FrameMaker) -> None:
    pattern = save(tmp_path, make_frames(range(3)))
    last = tmp_path / "003.png"
    last.write_bytes(last.read_bytes()[:-50])
    with SequenceReader(pattern, FILM, strict=True) as reader, pytest.raises(InputError, match=r"003\.png"):
        list(reader)
    last.write_text("no picture")
    with pytest.raises(InputError, match=r"003\.png"):
        SequenceReader(pattern, FILM)


def test_the_last_good_picture_stands_in_for_damaged_ones(tmp_path: Path, make_frames: FrameMaker) -> None:
    pattern = save(tmp_path, make_frames(range(5)))
    for number in (3, 4):
        damaged = tmp_path / f"00{number}.png"
        damaged.write_bytes(damaged.read_bytes()[:-50])
    with SequenceReader(pattern, FILM) as reader:
        whole = list(reader)
        for first in range(5):
            part = list(reader.frames_from(first))
            assert [(frame.pts, frame.damage.lost) for frame in part] == [
                (index, int(index in (2, 3))) for index in range(first, 5)
            ]
            assert all(torch.equal(a.color, b.color) for a, b in zip(part, whole[first:], strict=True))
    assert torch.equal(whole[2].color, whole[1].color)
    assert torch.equal(whole[3].color, whole[1].color)
    assert not torch.equal(whole[4].color, whole[1].color)
    (tmp_path / "001.png").write_bytes((tmp_path / "003.png").read_bytes())
    with SequenceReader(pattern, FILM) as reader, pytest.raises(DamageError, match=r"001\.png"):
        list(reader)


@pytest.mark.parametrize("rate", [0, -25])
def test_a_rate_that_does_not_exist(rate: int) -> None:
    with pytest.raises(UsageError, match=f"the frame rate must be above 0, not {rate}"):
        SequenceReader("%d.png", Fraction(rate))


# To a clip


def encoded(reader: SequenceReader, clip: Clip, target: Path) -> Path:
    settings = check_settings(clip, MATROSKA, EncodeSettings(crf=0))
    with SegmentWriter(target, clip, clip.height, clip.width, settings) as writer:
        for frame in reader:
            writer.write(frame)
    return target


def decoded(path: Path, ffmpeg: Run) -> Any:
    """Return the first frame as the ffmpeg program decodes it."""
    how = ("-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-sws_flags", "accurate_rnd", "-")
    return np.frombuffer(ffmpeg("-i", path, *how), np.uint8).astype(int)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_colors_of_the_clip_by_ffmpeg(
    tmp_path: Path, make_picture: PictureMaker, ffmpeg: Run, gray: bool, bits: int
) -> None:
    """Colors are encoded in 4:4:4, since subsampled chroma says nothing about the matrix and the range."""
    narrow = make_picture(48, 64, gray=gray)
    picture = narrow if bits == 8 else deep(narrow)
    with SequenceReader(save_pictures(tmp_path, [picture] * 3), FILM) as reader:
        clip = reader.clip
        clip = clip if gray else replace(clip, pixel_format=clip.pixel_format.replace("420", "444"))
        segment = encoded(reader, clip, tmp_path / "segment.mkv")
    difference = np.abs(decoded(segment, ffmpeg) - as_image(narrow.color).ravel()).mean()
    assert difference < 0.6


def test_rate_and_tags_by_ffprobe(
    tmp_path: Path, make_frames: FrameMaker, ffprobe: Callable[..., Any]
) -> None:
    pattern = save(tmp_path, make_frames(range(8)))
    with SequenceReader(pattern, FILM) as reader:
        segment = encoded(reader, reader.clip, tmp_path / "segment.mkv")
    assert ffprobe(segment, "-count_frames", "-show_streams")["streams"][0]["nb_read_frames"] == "8"
    shown = ffprobe(segment, "-show_streams")["streams"][0]
    assert (shown["codec_name"], shown["pix_fmt"]) == ("h264", "yuv420p")
    assert (shown["color_range"], shown["color_space"]) == ("tv", "bt709")
    assert (shown["color_primaries"], shown["color_transfer"]) == ("bt709", "bt709")
    assert shown["avg_frame_rate"] == "24000/1001"


# Writing


def test_frames_as_ffmpeg_writes_them(tmp_path: Path, make_clip: Maker, ffmpeg: Run) -> None:
    """Compare numbers and pixels in 4:4:4, where programs have no choice in how to interpolate chroma."""
    source = make_clip(pixel_format="yuv444p")
    ffmpeg(
        "-i", source, "-fps_mode", "passthrough", "-sws_flags", "accurate_rnd", tmp_path / "ffmpeg%03d.png"
    )
    with (
        VideoReader(source) as reader,
        SequenceWriter(f"{tmp_path}/new/ours%03d.png", FORMATS["PNG"]) as writer,
    ):
        for frame in reader:
            writer.write(frame)
    ours, theirs = (sorted(tmp_path.rglob(f"{name}*.png")) for name in ("ours", "ffmpeg"))
    assert [path.name[4:] for path in ours] == [path.name[6:] for path in theirs]
    for one, other in zip(ours, theirs, strict=True):
        difference = np.asarray(Image.open(one)).astype(int) - np.asarray(Image.open(other)).astype(int)
        assert np.abs(difference).max() <= 2


@pytest.mark.parametrize("angle", [90, -90, 180])
def test_turned_as_ffmpeg_turns(tmp_path: Path, make_clip: Maker, ffmpeg: Run, angle: int) -> None:
    source = make_clip(more=lambda _, stream: stream.set_display_rotation(angle))
    ffmpeg("-i", source, "-frames:v", "1", tmp_path / "ffmpeg.png")
    with VideoReader(source) as reader:
        rotation = reader.clip.rotation_deg
        writer = SequenceWriter(f"{tmp_path}/%d.png", FORMATS["PNG"], rotation_deg=rotation)
        writer.write(next(iter(reader)))
    ours, theirs = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("1.png", "ffmpeg.png"))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 5


@pytest.mark.parametrize("angle", [0, 90, -90, 180, 270])
def test_deep_frames_are_turned_like_others(make_picture: PictureMaker, angle: int) -> None:
    picture = make_picture()
    plain, wide = Frame(picture.color, 0), Frame(deep(picture).color, 0, alpha=deep(picture).color[:, :1])
    turned_wide, turned_plain = wide.turned(angle), plain.turned(angle)
    assert torch.equal(turned_wide.color, deep(replace(picture, color=turned_plain.color)).color)
    assert turned_wide.alpha is not None
    assert torch.equal(turned_wide.alpha, turned_wide.color[:, :1])


@pytest.mark.parametrize(
    ("format", "bits"), [("PNG", 16), ("TIFF", 16), ("AVIF", 12), ("JPEG", 8), ("WEBP", 8)]
)
def test_as_deep_as_the_format_is(tmp_path: Path, make_picture: PictureMaker, format: str, bits: int) -> None:
    picture = deep(make_picture())
    with SequenceWriter(f"{tmp_path}/%d", FORMATS[format]) as writer:
        writer.write(Frame(picture.color, 0))
    read = read_file(writer.path(1)).first
    assert (read.format, read.depth_bits, read.alpha) == (format, bits, None)
    if bits == 16:
        assert torch.equal(read.color, picture.color)


def test_gray_and_alpha(tmp_path: Path, make_picture: PictureMaker) -> None:
    picture = make_picture(gray=True, alpha=True)
    with SequenceWriter(f"{tmp_path}/%d.png", FORMATS["PNG"], gray=True) as writer:
        writer.write(Frame(picture.color, 0, None, picture.alpha))
    with Image.open(writer.path(1)) as image:
        assert image.mode == "LA"
        assert np.array_equal(
            np.asarray(image)[..., 1], picture.alpha[0, 0] if picture.alpha is not None else 0
        )


def test_going_on_at_a_number(tmp_path: Path, make_frames: FrameMaker) -> None:
    with SequenceWriter(f"{tmp_path}/%02d.png", FORMATS["PNG"], first_number=9) as writer:
        for frame in make_frames(range(3)):
            writer.write(frame)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["09.png", "10.png", "11.png"]


def test_quality(tmp_path: Path, make_picture: PictureMaker) -> None:
    frame = Frame(make_picture(96, 96).color, 0)
    sizes = []
    for quality in (30, 95):
        with SequenceWriter(f"{tmp_path}/{quality}_%d", FORMATS["JPEG"], WriteSettings(quality)) as writer:
            writer.write(frame)
        sizes.append(writer.path(1).stat().st_size)
    assert sizes[0] < sizes[1]


def test_what_cannot_be_written(tmp_path: Path, make_frames: FrameMaker) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot make the folder"):
        SequenceWriter(f"{tmp_path}/file/%d.png", FORMATS["PNG"])
    with pytest.raises(UsageError, match="must have exactly one number"):
        SequenceWriter(f"{tmp_path}/a.png", FORMATS["PNG"])
    (tmp_path / "1.png").mkdir()
    with (
        pytest.raises(OutputError, match="it is a folder"),
        SequenceWriter(f"{tmp_path}/%d.png", FORMATS["PNG"]) as writer,
    ):
        writer.write(make_frames([0])[0])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.png", "file"]


# Losses


@pytest.fixture
def clip(make_clip: Maker) -> Clip:
    return probe_clip(make_clip())


def test_losses_of_a_file(clip: Clip) -> None:
    assert sequence_limitations(clip, FORMATS["PNG"]) == (
        "only the frames are kept: pictures have no sound, subtitles, chapters or timestamps",
    )


def test_losses_of_much(clip: Clip) -> None:
    color = replace(clip.color, transfer=16, primaries=9)
    much = replace(clip, color=color, sample_aspect_ratio=Fraction(4, 3), depth_bits=10, alpha=True)
    found = sequence_limitations(replace(much, container="yuv4mpegpipe"), FORMATS["JPEG"])
    assert [
        next(word for word in ("HDR", "4/3", "transparency", "10 bits") if word in line) for line in found
    ] == [
        "HDR",
        "4/3",
        "transparency",
        "10 bits",
    ]
    assert not any("bits" in line for line in sequence_limitations(much, FORMATS["PNG"]))
