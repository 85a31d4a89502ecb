"""Test animations as clips, and clips as animations, without networks."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from esc_cli.errors import DamageError, InputError, OutputError
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.picture import WriteSettings
from esc_cli.media.read import read_file
from esc_cli.media.video.animation import (
    AnimationReader,
    AnimationWriter,
    animation_limitations,
    exact_times,
    is_animation,
)
from esc_cli.media.video.frame import Frame
from esc_cli.media.write import encode_file

SIZE = (12, 10)
DURATIONS_MS = (100, 30, 70, 500)


def shots(count: int = 4, mode: str = "RGB") -> list[Image.Image]:
    random = np.random.default_rng(0)
    made = [Image.fromarray(random.integers(0, 256, (*SIZE[::-1], 3), np.uint8)) for _ in range(count)]
    return [image.convert(mode) for image in made]


def saved(path: Path, images: Sequence[Image.Image], **options: Any) -> Path:
    first, *others = images
    chosen = {"duration": DURATIONS_MS[: len(images)], "loop": 0, **options}
    first.save(path, save_all=True, append_images=others, **chosen)
    return path


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.avif"])
def test_frames_and_times_are_those_of_the_file(tmp_path: Path, name: str) -> None:
    images = [image.quantize(200).convert("RGB") for image in shots()] if name == "a.gif" else shots()
    path = saved(tmp_path / name, images, **({"lossless": True} if name == "a.webp" else {}))
    if name == "a.avif":  # it is lossy
        with Image.open(path) as file:
            images = [frame.convert("RGB") for frame in ImageSequence.Iterator(file)]
    assert is_animation(path)
    with AnimationReader(path) as reader:
        clip, frames = reader.clip, list(reader)
    assert (clip.frames, clip.height, clip.width, clip.alpha, clip.of_pictures) == (4, 10, 12, False, True)
    assert (clip.duration_s, clip.frame_rate) == (0.7, Fraction(40, 7))
    assert [frame.pts * clip.time_base for frame in frames] == [0, Fraction(1, 10), Fraction(13, 100),
                                                                 Fraction(1, 5)]  # fmt: skip
    assert [(frame.duration or 0) * clip.time_base * 1000 for frame in frames] == list(DURATIONS_MS)
    for frame, image in zip(frames, images, strict=True):
        assert np.array_equal(frame.color[0].permute(1, 2, 0).numpy(), np.asarray(image))
        assert frame.alpha is None


def test_frames_are_found_again_by_time_and_by_number(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", shots())
    with AnimationReader(path, start_s=0.1, end_s=0.2) as reader:
        times = reader.times()
        assert [frame.pts for frame in reader] == list(times)
        assert [frame.pts for frame in reader.frames_after(1, times[0])] == list(times[1:])
        assert list(reader.frames_after(2, times[1])) == []
        assert torch.equal(reader.peek(), next(AnimationReader(path).frames_from(0)).color)
    assert [time * reader.clip.time_base for time in times] == [Fraction(1, 10), Fraction(13, 100)]


def test_opaque_frames_of_a_transparent_animation_get_alpha(tmp_path: Path) -> None:
    opaque, clear = shots(2, "RGBA")
    clear.putalpha(90)
    with AnimationReader(saved(tmp_path / "a.webp", [opaque, clear], lossless=True)) as reader:
        alphas = [frame.alpha for frame in reader]
    assert reader.clip.alpha
    assert [None if alpha is None else alpha.unique().tolist() for alpha in alphas] == [[255], [90]]


def test_a_clip_says_what_it_lacks_of_an_animation(tmp_path: Path) -> None:
    once = saved(tmp_path / "once.png", shots(), loop=1)
    assert AnimationReader(once).clip.notes == ()
    odd = saved(tmp_path / "odd.webp", shots(3), duration=[0, 20, 20], xmp=b"<x:xmpmeta/>")
    assert AnimationReader(odd).clip.notes == (
        "the pictures' EXIF, XMP, captions, text and comments are not kept: frames cannot store them",
        "the result is not repeated, as the animation is",
        "frames without a duration are shown for 0.1 s, as browsers do",
    )


def test_what_is_not_an_animation_is_refused(tmp_path: Path) -> None:
    shots()[0].save(tmp_path / "a.png")
    saved(tmp_path / "a.tif", shots())
    for name in ("a.png", "a.tif"):
        assert not is_animation(tmp_path / name)
        with pytest.raises(InputError, match="is not an animation"):
            AnimationReader(tmp_path / name)
    assert not is_animation(tmp_path / "missing.gif")


def test_what_is_left_of_a_damaged_animation_is_read_on_request(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", shots())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DamageError):
        AnimationReader(path)
    clip = AnimationReader(path, keep_damaged=True).clip
    assert 1 < (clip.frames or 0) <= 4
    assert any("damaged" in note for note in clip.notes)


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=50))
def test_whole_milliseconds_are_exact(durations_ms: list[int]) -> None:
    time_base, ends = exact_times(durations_ms)
    assert ends[-1] * time_base == Fraction(sum(durations_ms), 1000)


@given(st.lists(st.floats(0.5, 5000), min_size=1, max_size=50))
def test_times_do_not_drift(durations_ms: list[float]) -> None:
    time_base, ends = exact_times(durations_ms)
    assert abs(float(ends[-1] * time_base) - sum(durations_ms) / 1000) < 1e-4
    assert time_base.denominator <= 1_000_000


def test_slides_that_are_shown_for_an_hour(tmp_path: Path) -> None:
    """The nearest rate with a denominator of at most 1001 would be 0."""
    with AnimationReader(saved(tmp_path / "a.png", shots(2), duration=[3_600_000, 7_200_000])) as reader:
        assert reader.clip.frame_rate == Fraction(1, 5400)
        assert reader.clip.duration_s == 10_800
        assert [frame.pts * reader.clip.time_base for frame in reader] == [0, 3600]


@pytest.mark.parametrize(("format", "longest_s"), [("GIF", "655"), ("WEBP", "16,777")])
def test_a_frame_that_is_shown_for_too_long(tmp_path: Path, format: str, longest_s: str) -> None:
    file = read_file(saved(tmp_path / "a.png", shots(2), duration=[100, 20_000_000]))
    with pytest.raises(OutputError, match=f"{format} .* for longer than {longest_s} seconds"):
        encode_file(file, FORMATS[format], WriteSettings())


@pytest.mark.parametrize("rate", [24, 25, Fraction(30000, 1001), 60])
def test_timestamps_become_durations_without_drift(tmp_path: Path, rate: Fraction) -> None:
    clip = AnimationReader(saved(tmp_path / "a.png", shots())).clip
    with AnimationWriter(clip) as writer:
        for number in range(100):
            color = torch.full((1, 3, 4, 4), number, dtype=torch.uint8)
            begin, end = (round(index / rate / clip.time_base) for index in (number, number + 1))
            writer.write(Frame(color, begin, end - begin))
    file = writer.file
    assert file is not None
    assert file.timing is not None
    for name in ("GIF", "PNG", "WEBP"):
        content = FORMATS[name].encode(file.pictures, file.timing, [p.metadata for p in file.pictures], None)
        path = tmp_path / "b"
        path.write_bytes(content)
        with Image.open(path) as image:
            total = 0.0
            for index in range(image.n_frames):
                image.seek(index)
                image.load()
                total += image.info["duration"]
        assert abs(total - 100_000 / rate) <= 10, name


def test_equal_frames_stay_one_picture_and_rotation_is_applied(tmp_path: Path) -> None:
    clip = replace(AnimationReader(saved(tmp_path / "a.png", shots())).clip, rotation_deg=90)
    color = torch.randint(0, 65536, (1, 3, 4, 6), dtype=torch.int32).to(torch.uint16)
    with AnimationWriter(clip) as writer:
        assert writer.file is None
        writer.write(Frame(color, 0))
        writer.write(Frame(color, 5, 3))
    file = writer.file
    assert file is not None
    first, second = file.pictures
    assert first is second
    assert (first.height, first.width, first.depth_bits, first.color.dtype) == (6, 4, 8, torch.uint8)


def test_an_animation_says_what_it_lacks_of_a_clip(tmp_path: Path) -> None:
    still = AnimationReader(saved(tmp_path / "a.png", shots())).clip
    clip = replace(still, container="mp4", depth_bits=10, alpha=True, frame_rate=Fraction(60))
    assert animation_limitations(clip, FORMATS["GIF"]) == (
        "only the frames are kept: an animation has no sound, subtitles or chapters",
        "10 bits per channel are reduced to 8, as frames of animations have",
        "partially transparent pixels become opaque or fully transparent: GIF holds nothing between",
        "the colors of each picture are reduced to at most 256: GIF cannot hold more",
        "many programs show a GIF of 60 frames per second too slowly: they show frames of less than 0.02 s "
        "for 0.1 s",
    )
    assert len(animation_limitations(clip, FORMATS["WEBP"])) == 2
