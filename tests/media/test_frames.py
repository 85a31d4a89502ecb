import io
import json
import random
import shutil
import struct
import subprocess
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.errors import EscError, InputError, OutputError
from esc_cli.media.formats.gif import delays_ms
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.frames import frames, timing_of
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.opening import opened
from esc_cli.media.picture import AnimationTiming
from esc_cli.media.read import picture_from_image

Array = npt.NDArray[np.uint8]


def read(content: bytes | Path, largest_px: int = 10**6) -> tuple[AnimationTiming | None, list[Image.Image]]:
    with opened(content, largest_px) as file:
        file.format.check(file)
        return timing_of(file), list(frames(file))


def rgba(image: Image.Image) -> Array:
    """Return pixels of shape (H, W, 4), with black in place of invisible colors."""
    pixels = np.array(image.convert("RGBA"))
    pixels[pixels[..., 3] == 0] = 0
    return pixels


def encode(
    images: Sequence[Image.Image], timing: AnimationTiming | None, format: str, comment: bytes | None = None
) -> bytes:
    pictures = [picture_from_image(image) for image in images]
    return FORMATS[format].encode(pictures, timing, [Metadata(comment=comment)] * len(images), None)


def shown_at(timing: AnimationTiming | None, images: Sequence[Image.Image], time_ms: float) -> Array:
    assert timing is not None
    ends = list(accumulate(timing.durations_ms))
    return rgba(images[next((i for i, end in enumerate(ends) if time_ms < end), len(ends) - 1)])


# Hand-made animations, and their expected appearance


@dataclass(frozen=True)
class Patch:
    """A frame as a file stores it: pixels, (H, W, 4), with their position, blending and disposal."""

    pixels: Array
    left: int
    top: int
    disposal: int
    over: bool = False
    numerator: int = 1
    denominator: int = 10


HEIGHT, WIDTH = 9, 11


def patches(seed: int, disposals: Sequence[int], alphas: Sequence[int], *, first_whole: bool) -> list[Patch]:
    chance = random.Random(seed)
    numbers = np.random.default_rng(seed)
    result = []
    for number in range(chance.randint(2, 5)):
        left, top = chance.randrange(WIDTH - 1), chance.randrange(HEIGHT - 1)
        height, width = chance.randint(1, HEIGHT - top), chance.randint(1, WIDTH - left)
        if number == 0 and first_whole:
            left, top, height, width = 0, 0, HEIGHT, WIDTH
        pixels = numbers.integers(0, 256, (height, width, 4), np.uint8)
        pixels[..., 3] = numbers.choice(alphas, (height, width))
        result.append(Patch(pixels, left, top, chance.choice(disposals), chance.random() < 0.5))
    return result


def composed(stored: Sequence[Patch], clear: int, restore: int) -> list[Array]:
    """Return the expected frames, computed in floats by the formulas of PNG 13.16 and W3C Compositing."""
    canvas = np.zeros((HEIGHT, WIDTH, 4))
    result = []
    for number, patch in enumerate(stored):
        before = canvas.copy()
        height, width = patch.pixels.shape[:2]
        area = canvas[patch.top : patch.top + height, patch.left : patch.left + width]
        area[:] = blended(patch.pixels, area) if patch.over else patch.pixels
        result.append(canvas.round().astype(np.uint8))
        if patch.disposal == clear or (patch.disposal == restore and number == 0):
            area[:] = 0
        elif patch.disposal == restore:
            canvas = before
    return result


def blended(above: Array, below: npt.NDArray[Any]) -> npt.NDArray[Any]:
    opacity, under = above[..., 3:] / 255, below[..., 3:] / 255
    together = opacity + under * (1 - opacity)
    color = above[..., :3] * opacity + below[..., :3] * under * (1 - opacity)
    color = np.divide(color, together, out=np.zeros_like(color), where=together > 0)
    return np.concatenate([color, together * 255], axis=2)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def apng(stored: Sequence[Patch], plays: int = 0, default: Array | None = None) -> bytes:
    """Encode frames as an APNG. Source: PNG (third edition), 11.3.6."""

    def packed(pixels: Array) -> bytes:
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))

    content = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 6, 0, 0, 0))
    content += chunk(b"acTL", struct.pack(">II", len(stored), plays))
    content += b"" if default is None else chunk(b"IDAT", packed(default))
    sequence = 0
    for number, patch in enumerate(stored):
        height, width = patch.pixels.shape[:2]
        control = (sequence, width, height, patch.left, patch.top, patch.numerator, patch.denominator)
        content += chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control, patch.disposal, patch.over))
        sequence += 1
        if number == 0 and default is None:
            content += chunk(b"IDAT", packed(patch.pixels))
        else:
            content += chunk(b"fdAT", struct.pack(">I", sequence) + packed(patch.pixels))
            sequence += 1
    return b"\x89PNG\r\n\x1a\n" + content + chunk(b"IEND", b"")


GRAYS = bytes(value for value in range(256) for _ in range(3))


def gif(stored: Sequence[Patch], delays: Sequence[int] = (), netscape: int | None = 0) -> bytes:
    """Encode frames as an uncompressed gray GIF, whose index 0 is transparent. Source: GIF89a."""
    content = b"GIF89a" + struct.pack("<HHBBB", WIDTH, HEIGHT, 0xF7, 0, 0) + GRAYS
    if netscape is not None:
        content += b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", netscape) + b"\0"
    for number, patch in enumerate(stored):
        height, width = patch.pixels.shape[:2]
        indices = np.where(patch.pixels[..., 3] > 0, patch.pixels[..., 0] | 1, 0)
        delay = delays[number] if delays else 10
        content += b"!\xf9\x04" + struct.pack("<BHBB", patch.disposal << 2 | 1, delay, 0, 0)
        content += b"," + struct.pack("<HHHHB", patch.left, patch.top, width, height, 0)
        content += b"\x08" + plain_lzw(indices.ravel().tolist()) + b"\0"
    return content + b";"


def plain_lzw(indices: list[int]) -> bytes:
    """Encode indices as 9-bit codes, with enough clear codes to prevent wider ones."""
    codes = [256]
    for number, index in enumerate(indices, 1):
        codes += [index, 256] if number % 200 == 0 else [index]
    value = sum(code << 9 * place for place, code in enumerate([*codes, 257]))
    packed = value.to_bytes(len(codes) * 9 // 8 + 2, "little")
    pieces = (packed[start : start + 255] for start in range(0, len(packed), 255))
    return b"".join(bytes([len(piece)]) + piece for piece in pieces)


def moving(count: int = 4, *, mode: str = "RGBA") -> list[Image.Image]:
    """Return frames with a square of one color that moves over an empty background."""
    images = [Image.new(mode, (16, 12)) for _ in range(count)]
    for number, image in enumerate(images):
        image.paste((200, 60 * number, 9, 255)[: len(mode)], (number * 3, 2, number * 3 + 5, 9))
    return images


# Reading


@pytest.mark.parametrize("default", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_apng_is_laid_as_the_standard_says(seed: int, default: bool) -> None:
    stored = patches(seed, (0, 1, 2), (0, 90, 200, 255), first_whole=not default)
    unseen = np.full((HEIGHT, WIDTH, 4), 77, np.uint8) if default else None
    timing, images = read(apng(stored, plays=3, default=unseen))
    assert timing == AnimationTiming((100.0,) * len(stored), 3)
    for image, expected in zip(images, composed(stored, clear=1, restore=2), strict=True):
        assert np.abs(rgba(image)[..., 3].astype(int) - expected[..., 3]).max() <= 2
        premultiplied = [pixels[..., :3] * (pixels[..., 3:] / 255) for pixels in (rgba(image), expected)]
        assert np.abs(premultiplied[0] - premultiplied[1]).max() <= 3


@pytest.mark.parametrize("seed", range(20))
def test_gif_is_laid_as_browsers_do(seed: int) -> None:
    stored = patches(seed, (0, 1, 2, 3), (0, 255), first_whole=seed % 2 == 0)
    stored = [Patch(p.pixels, p.left, p.top, p.disposal, over=True) for p in stored]
    _, images = read(gif(stored))
    for image, expected in zip(images, composed(stored, clear=2, restore=3), strict=True):
        gray = np.where(expected[..., 3] > 0, expected[..., 0] | 1, 0)
        assert (rgba(image)[..., 0] == gray).all()
        assert (rgba(image)[..., 3] == expected[..., 3]).all()


@pytest.mark.parametrize(("netscape", "plays"), [(None, 1), (0, 0), (1, 2), (7, 8)])
def test_gif_says_how_often_it_is_repeated(netscape: int | None, plays: int) -> None:
    stored = patches(1, (1,), (255,), first_whole=True)[:2]
    timing, _ = read(gif(stored, delays=(3, 0), netscape=netscape))
    assert timing == AnimationTiming((30.0, 0.0), plays)


def test_thirds_of_a_second_are_exact_in_apng() -> None:
    one = patches(1, (0,), (255,), first_whole=True)[0]
    fast = [Patch(one.pixels, 0, 0, 0, numerator=1, denominator=d) for d in (3, 60, 0)]
    timing, _ = read(apng(fast))
    assert timing is not None
    assert timing.durations_ms == pytest.approx((1000 / 3, 1000 / 60, 10))


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "AVIF", "JPEG", "TIFF", "BMP"])
def test_stills_do_not_move(format: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (5, 4), (255, 255, 255)).save(content, format)
    timing, images = read(content.getvalue())
    assert timing is None
    assert [image.size for image in images] == [(5, 4)]


def test_only_the_first_picture_of_an_mpo_is_its_own() -> None:
    content = io.BytesIO()
    left, right = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    left.save(content, "MPO", save_all=True, append_images=[right])
    timing, images = read(content.getvalue())
    assert timing is None
    assert len(images) == 1


def test_frames_are_independent_and_timing_can_be_read_at_any_time() -> None:
    content = encode(moving(), AnimationTiming((20, 30, 40, 50), 2), "WEBP")
    with opened(content) as file:
        first = timing_of(file)
        images = list(frames(file))
        again = list(frames(file))
        assert timing_of(file) == first == AnimationTiming((20, 30, 40, 50), 2)
    assert all((rgba(a) == rgba(b)).all() for a, b in zip(images, again, strict=True))
    assert len({rgba(image).tobytes() for image in images}) == 4


# Damage


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP"])
def test_truncated_animations_are_refused_wherever_they_end(format: str) -> None:
    content = encode(moving(3), AnimationTiming((100, 100, 100)), format)
    # Bytes that a reader may miss at the end: PNG's checksum and end, GIF's trailer, WebP's padding.
    whole = {"PNG": 21, "GIF": 1, "WEBP": 1}[format]
    boundaries = 0
    for length in range(12, len(content) - whole):
        try:
            read(content[:length])
        except InputError as error:
            assert error.message
        else:
            boundaries += 1
    assert boundaries <= (2 if format == "GIF" else 0)  # between its frames, a GIF lacks only the trailer


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_damage_is_an_error_of_ours(format: str, capfd: pytest.CaptureFixture[str]) -> None:
    content = encode(moving(3), None if format == "TIFF" else AnimationTiming((100, 100, 100)), format)
    chance = random.Random(0)
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            read(bytes(damaged))
        except EscError as error:
            refused += 1
            assert "(" not in error.message  # the words of a library
    assert refused > 10
    assert capfd.readouterr().err == ""


def test_all_frames_count_against_the_limit() -> None:
    content = encode(moving(4), AnimationTiming((10,) * 4), "GIF")
    assert len(read(content, largest_px=4 * 16 * 12)[1]) == 4
    with pytest.raises(InputError, match="more than the limit"):
        read(content, largest_px=4 * 16 * 12 - 1)
    pages = encode([Image.new("L", (1000, 900)), Image.new("L", (1000, 1000))], None, "TIFF")
    with pytest.raises(InputError, match="2 megapixels, more than the limit") as caught:
        read(pages, largest_px=10**6)
    assert "--max-megapixels 2" in str(caught.value.hint)
    assert len(read(pages, largest_px=1_900_000)[1]) == 2


def test_lying_count_of_frames_is_refused() -> None:
    content = apng(patches(1, (0,), (255,), first_whole=True))
    place = content.index(b"acTL") + 4
    lying = b"\x7f\xff\xff\xff" + content[place + 4 : place + 8]
    content = content[:place] + lying + struct.pack(">I", zlib.crc32(b"acTL" + lying)) + content[place + 12 :]
    with pytest.raises(InputError):
        read(content)


# Writing


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP"])
@pytest.mark.parametrize("mode", ["RGBA", "RGB"])
def test_no_frame_leaves_a_ghost(format: str, mode: str) -> None:
    images = moving(mode=mode)
    timing, got = read(encode(images, AnimationTiming((100, 200, 300, 400), 5), format))
    assert timing == AnimationTiming((100, 200, 300, 400), 5)
    assert all((rgba(a) == rgba(b)).all() for a, b in zip(images, got, strict=True))


@settings(max_examples=25)
@given(
    st.sampled_from(["PNG", "GIF", "WEBP"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(2, 60)), min_size=2, max_size=7),
    st.integers(0, 100),
)
def test_every_moment_shows_what_it_should(format: str, shots: list[tuple[int, int]], loop: int) -> None:
    images = [moving()[number] for number, _ in shots]
    timing = AnimationTiming(tuple(ticks * 10 for _, ticks in shots), loop)
    content = encode(images, timing, format)
    played, got = read(content)
    if len({number for number, _ in shots}) == 1 and played is None:
        assert (rgba(got[0]) == rgba(images[0])).all()  # nothing ever changes
        return
    assert played is not None
    assert (sum(played.durations_ms), played.loop) == (sum(timing.durations_ms), loop)
    for end, duration in zip(accumulate(timing.durations_ms), timing.durations_ms, strict=True):
        middle = end - duration / 2
        assert (shown_at(played, got, middle) == shown_at(timing, images, middle)).all()


def test_equal_frames_of_a_gif_stay_frames() -> None:
    red, blue = Image.new("RGB", (9, 7), "red"), Image.new("RGB", (9, 7), "blue")
    timing = AnimationTiming((20, 30, 40, 50), 1)
    assert read(encode([red, red, blue, blue], timing, "GIF"))[0] == timing


@pytest.mark.parametrize("comment", [b"made by hand", bytes(range(1, 256)) * 3])
@pytest.mark.parametrize("timing", [None, AnimationTiming((20, 30), 0), AnimationTiming((20, 30), 1)])
def test_a_gif_has_a_comment(comment: bytes, timing: AnimationTiming | None) -> None:
    images = moving(2 if timing else 1)
    content = encode(images, timing, "GIF", comment)
    with Image.open(io.BytesIO(content)) as again:
        assert again.info["comment"] == comment
    without = encode(images, timing, "GIF")
    assert (read(content)[0], pixels_of_all(content)) == (read(without)[0], pixels_of_all(without))


def pixels_of_all(content: bytes) -> list[bytes]:
    return [rgba(image).tobytes() for image in read(content)[1]]


def test_frames_of_any_modes_become_one() -> None:
    images = [Image.new("L", (8, 6), 9), *moving(2)]
    for format in ("PNG", "WEBP", "GIF"):
        _, got = read(
            encode([image.crop((0, 0, 8, 6)) for image in images], AnimationTiming((10,) * 3), format)
        )
        assert all((rgba(a) == rgba(b.crop((0, 0, 8, 6)))).all() for a, b in zip(got, images, strict=True))


def test_what_a_source_said_of_itself_is_not_written() -> None:
    images = moving()
    images[0].info = {"default_image": True, "disposal": 1, "loop": 9, "icc_profile": b"x" * 200}
    content = encode(images, AnimationTiming((10,) * 4), "PNG")
    assert len(read(content)[1]) == 4
    assert b"iCCP" not in content


def test_long_frames_of_apng_keep_their_time() -> None:
    timing = AnimationTiming((70_001, 1000 / 3, 65_535_000), 1)
    got, _ = read(encode(moving(3), timing, "PNG"))
    assert got is not None
    assert got.durations_ms == pytest.approx(timing.durations_ms, rel=1e-5)


def test_gif_cannot_show_a_frame_for_eleven_minutes() -> None:
    with pytest.raises(OutputError, match="655 seconds"):
        encode(moving(2), AnimationTiming((700_000, 10)), "GIF")


@given(st.lists(st.floats(0, 10_000), min_size=1, max_size=50))
def test_rounded_delays_do_not_drift(durations_ms: list[float]) -> None:
    got = delays_ms(durations_ms)
    assert all(delay >= 0 and delay % 10 == 0 for delay in got)
    for exact, rounded in zip(accumulate(durations_ms), accumulate(got), strict=True):
        assert abs(exact - rounded) <= 5.001


def test_gif_is_opaque_from_half_on() -> None:
    ramp = np.full((4, 256, 4), (10, 200, 30, 0), np.uint8)
    ramp[..., 3] = np.arange(256)
    _, (got,) = read(encode([Image.fromarray(ramp)], None, "GIF"))
    assert (rgba(got)[..., 3] == np.where(ramp[..., 3] >= 128, 255, 0)).all()
    assert (rgba(got)[:, 128:, :3] == (10, 200, 30)).all()


def test_gif_keeps_white_black_gray_and_few_colors() -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    photo[:10], photo[-10:] = 255, 0
    got = np.asarray(read(encode([Image.fromarray(photo)], None, "GIF"))[1][0].convert("RGB"))
    assert (got[:10] == 255).all()
    assert (got[-10:] == 0).all()
    ramp = np.arange(256, dtype=np.uint8).repeat(4)[None].repeat(5, 0)
    got = np.asarray(read(encode([Image.fromarray(ramp)], None, "GIF"))[1][0].convert("RGB")).astype(int)
    assert np.ptp(got, axis=2).max() == 0
    assert np.abs(got[..., 0] - ramp).max() <= 1
    few = np.random.default_rng(1).integers(0, 256, (200, 3), np.uint8)[
        np.random.default_rng(2).integers(0, 200, (50, 50))
    ]
    assert (np.asarray(read(encode([Image.fromarray(few)], None, "GIF"))[1][0].convert("RGB")) == few).all()


def test_gif_is_better_than_pillows() -> None:
    y, x = np.mgrid[0:96, 0:128]
    waves = np.dstack([128 + 127 * np.sin(x / 19), 128 + 127 * np.cos(y / 23 + x / 40), (x + y) % 256])
    image = Image.fromarray(waves.clip(0, 255).astype(np.uint8))
    content = io.BytesIO()
    image.save(content, "GIF")
    ours, theirs = (read(data)[1][0] for data in (encode([image], None, "GIF"), content.getvalue()))
    errors = [
        np.square(np.asarray(got.convert("RGB"), float) - np.asarray(image)).mean() for got in (ours, theirs)
    ]
    assert errors[0] < errors[1]


def test_pages_keep_their_sizes_and_modes() -> None:
    pages = [
        Image.new("RGB", (9, 7), (1, 2, 3)),
        Image.new("L", (30, 4), 77),
        Image.new("RGBA", (5, 40), (9, 8, 7, 6)),
        Image.new("LA", (3, 3), (200, 100)),
    ]
    timing, got = read(encode(pages, None, "TIFF"))
    assert timing is None
    assert [(page.size, page.mode) for page in got] == [(page.size, page.mode) for page in pages]
    assert all((np.asarray(a) == np.asarray(b)).all() for a, b in zip(got, pages, strict=True))


def test_avif_moves() -> None:
    images = [Image.new("RGB", (32, 24), color) for color in ("red", "lime", "blue")]
    timing, got = read(encode(images, AnimationTiming((40, 33.4, 33.3)), "AVIF"))
    assert timing == AnimationTiming((40, 33, 34))
    for a, b in zip(got, images, strict=True):
        assert np.abs(rgba(a).astype(int) - rgba(b)).max() < 6


# Other programs


def run(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


@pytest.mark.skipif(shutil.which("gifsicle") is None, reason="needs gifsicle")
def test_gifsicle_reads_our_gif(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    path.write_bytes(encode(moving(), AnimationTiming((100, 33.3, 33.3, 33.4), 4), "GIF"))
    said = run("gifsicle", "--info", path)
    assert "4 images" in said
    assert "loop count 3" in said
    assert [line.split("delay ")[1] for line in said.splitlines() if "delay" in line] == [
        "0.10s",
        "0.03s",
        "0.04s",
        "0.03s",
    ]


@pytest.mark.skipif(shutil.which("webpmux") is None, reason="needs webpmux")
def test_webpmux_reads_our_webp(tmp_path: Path) -> None:
    path = tmp_path / "a.webp"
    path.write_bytes(encode(moving(), AnimationTiming((100, 33.3, 33.3, 33.4), 4), "WEBP"))
    said = run("webpmux", "-info", path)
    assert "Number of frames: 4" in said
    assert "Loop Count : 4" in said
    assert [line.split()[6] for line in said.splitlines() if line.strip()[:1].isdigit()] == [
        "100",
        "33",
        "34",
        "33",
    ]


@pytest.mark.skipif(shutil.which("ffprobe") is None, reason="needs ffprobe")
def test_ffprobe_reads_our_apng(tmp_path: Path) -> None:
    path = tmp_path / "a.apng"
    path.write_bytes(encode(moving(), AnimationTiming((500, 1000 / 3, 250, 125), 4), "PNG"))
    said = json.loads(run("ffprobe", "-v", "error", "-show_packets", "-of", "json", path))
    starts = [float(packet["pts_time"]) for packet in said["packets"]]
    assert starts == pytest.approx([0, 0.5, 0.8333, 1.0833], abs=1e-3)


@pytest.mark.usefixtures("imagemagick")
def test_imagemagick_sees_what_we_wrote(tmp_path: Path) -> None:
    images = moving()
    path = tmp_path / "a.gif"
    path.write_bytes(encode(images, AnimationTiming((100,) * 4), "GIF"))
    command = ["convert", path, "-coalesce", "-depth", "8", "RGBA:-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    for seen, image in zip(np.frombuffer(raw, np.uint8).reshape(-1, 12, 16, 4), images, strict=True):
        assert (rgba(Image.fromarray(seen)) == rgba(image)).all()


@pytest.mark.parametrize(
    ("name", "count", "total_ms"),
    [
        ("anim.gif", 31, 3100),
        ("anim_dispose_transparent.gif", 10, 4400),
        ("anim.webp", 42, 2730),
        ("anim_small.apng.png", 4, 3000),
    ],
)
def test_real_animations(shared: Path, name: str, count: int, total_ms: int) -> None:
    """The expected counts and times are from gifsicle --info, webpmux -info and ffprobe -show_packets."""
    timing, images = read(shared / "corpus" / name, largest_px=10**7)
    assert timing is not None
    assert len(timing.durations_ms) == len(images) == count
    assert (sum(timing.durations_ms), timing.loop) == (total_ms, 0)
    played, got = read(encode([image.convert("RGBA") for image in images], timing, "GIF"), 10**7)
    assert played == timing
    assert all(
        (rgba(a)[..., 3] >= 128).tolist() == (rgba(b)[..., 3] > 0).tolist()
        for a, b in zip(images, got, strict=True)
    )


@pytest.mark.usefixtures("imagemagick")
@pytest.mark.parametrize("name", ["anim_dispose_transparent.gif", "anim.webp"])
def test_real_animations_as_imagemagick_sees_them(shared: Path, name: str) -> None:
    path = shared / "corpus" / name
    command = ["convert", path, "-coalesce", "-depth", "8", "RGBA:-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    _, images = read(path, largest_px=10**7)
    width, height = images[0].size
    for seen, image in zip(np.frombuffer(raw, np.uint8).reshape(-1, height, width, 4), images, strict=True):
        assert (rgba(Image.fromarray(seen)) == rgba(image)).all()
