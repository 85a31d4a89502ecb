import io
import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.errors import EscError, InputError
from esc_cli.media.formats.jpeg_xl import _say_premultiplied, announcement, pixel_options, xmp_of
from esc_cli.media.opening import opened
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file

pytest.importorskip("pillow_jxl")

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='somebody'></x:xmpmeta>"
needs_cjxl = pytest.mark.skipif(shutil.which("cjxl") is None, reason="needs libjxl's programs")


def noise(mode: str = "RGB", size: tuple[int, int] = (21, 13)) -> Image.Image:
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, np.uint8))


def encode(image: Image.Image, quality: int | None = None, **metadata: bytes) -> bytes:
    content = io.BytesIO()
    image.save(content, "JXL", **pixel_options(quality), **metadata)
    return content.getvalue()


def cjxl(tmp_path: Path, source: Image.Image, name: str, *options: str) -> bytes:
    """Encode a picture with libjxl's own program, from a file in the format that its name states."""
    source.save(tmp_path / name, **({"save_all": True} if "gif" in name else {}))
    command = ["cjxl", tmp_path / name, tmp_path / "a.jxl", "-e", "1", *options]
    subprocess.run(command, check=True, capture_output=True)
    return (tmp_path / "a.jxl").read_bytes()


def announced(content: bytes) -> tuple[int, int]:
    found = announcement(io.BytesIO(content))
    return found.height, found.width


@settings(max_examples=40)
@given(st.integers(1, 2000), st.integers(1, 40), st.booleans())
def test_size_is_known_before_decoding(long: int, short: int, wide: bool) -> None:
    width, height = (long, short) if wide else (short, long)
    assert announced(encode(Image.new("L", (width, height)))) == (height, width)


@pytest.mark.parametrize(
    ("height", "width"),
    [
        (8, 8),
        (256, 256),
        (264, 264),
        (10, 12),
        (30, 40),
        (30, 45),
        (36, 64),
        (80, 100),
        (99, 198),
        (9000, 1),
        (1, 70_000),
    ],
)
def test_ratios_and_long_sides(height: int, width: int) -> None:
    assert announced(encode(Image.new("L", (width, height)))) == (height, width)


def test_bombs_are_refused_unopened() -> None:
    width_bits = height_bits = 0b11 | (2**30 - 1) << 2  # 30 bits follow, all ones
    header = height_bits << 1 | width_bits << (1 + 32 + 3)
    content = b"\xff\x0a" + header.to_bytes(12, "little")
    assert announced(content) == (2**30, 2**30)
    with pytest.raises(InputError, match="more than the limit"), opened(content):
        pass


def test_limit_is_the_callers() -> None:
    content = encode(noise())
    with opened(content, 21 * 13):
        pass
    with pytest.raises(InputError, match="more than the limit"), opened(content, 21 * 13 - 1):
        pass


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("quality", [None, 100])
def test_lossless(mode: str, quality: int | None) -> None:
    image = noise(mode)
    with opened(encode(image, quality)) as file:
        assert file.image.mode == mode
        assert (np.asarray(file.image) == np.asarray(image)).all()


def test_quality_is_size() -> None:
    sizes = [len(encode(noise(size=(90, 90)), quality)) for quality in (20, 70, 99)]
    assert sizes == sorted(set(sizes))


def test_exif_and_xmp_are_kept() -> None:
    tags = Image.Exif()
    tags[0x0110] = "a camera"
    content = encode(noise(), exif=tags.tobytes(), xmp=XMP)
    assert announced(content) == (13, 21)
    with opened(content) as file:
        assert file.image.getexif()[0x0110] == "a camera"
        assert file.image.info["xmp"] == XMP


def test_no_xmp() -> None:
    assert xmp_of(io.BytesIO(encode(noise()))) is None


def test_damage_is_an_error_of_ours() -> None:
    content = encode(noise(size=(60, 50)), xmp=XMP)
    chance = random.Random(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            with opened(bytes(damaged)):
                pass
        except EscError:
            refused += 1
    assert refused > 10
    for length in (12, 30, 60, len(content) // 2):
        with pytest.raises(InputError, match="damaged"), opened(content[:length]):
            pass


def with_extra_channel(content: bytes, kind: str, premultiplied: str = "", name: str = "") -> bytes:
    """Describe the extra channel of a picture with 24 x 16 pixels, which the plugin wrote, in another way.

    The bits of the header: 9 for the size; 5 for a metadata of 8 bits; 3 for the number of extra channels;
    1 because that channel is an ordinary alpha. Six more and padding follow. The first bit is the lowest.
    """
    start = int.from_bytes(content[2:5], "little")
    before, ordinary, behind = (
        f"{start:024b}"[::-1][part] for part in (slice(17), slice(17, 18), slice(18, 23))
    )
    assert (before[9:], ordinary, behind) == ("0" * 5 + "110", "1", "01001")
    length = f"{len(name):04b}"[::-1]
    text = "".join(f"{byte:08b}"[::-1] for byte in name.encode())
    described = "0" + kind + "000" + "00" + (("10" + length + text) if name else "00") + premultiplied
    bits = before + described + behind
    padded = bits + "0" * (-len(bits) % 8)
    return content[:2] + int(padded[::-1], 2).to_bytes(len(padded) // 8, "little") + content[5:]


IS_ALPHA, IS_BLACK = "00", "01" + "0100"  # of four choices the third: two more than the four bits that follow


@pytest.mark.parametrize("name", ["", "alpha"])
def test_premultiplied_colors_are_divided_by_alpha(name: str) -> None:
    stored = np.zeros((16, 24, 4), np.uint8)
    stored[:, :12], stored[:, 12:18] = (100, 50, 0, 200), (9, 8, 7, 255)
    content = encode(Image.fromarray(stored))
    straight = read_file(with_extra_channel(content, IS_ALPHA, "0", name)).first
    assert np.array_equal(straight.color[0].numpy(), stored[..., :3].transpose(2, 0, 1))
    divided = read_file(with_extra_channel(content, IS_ALPHA, "1", name)).first
    assert divided.alpha is not None
    assert np.array_equal(divided.alpha[0, 0].numpy(), stored[..., 3])
    assert divided.color[0, :, 0, 0].tolist() == pytest.approx([127.5, 63.75, 0], abs=1)
    assert divided.color[0, :, 0, 12].tolist() == [9, 8, 7]


def test_premultiplied_gray_is_divided_by_alpha() -> None:
    content = encode(Image.new("LA", (24, 16), (100, 200)))
    with opened(content) as file:
        _say_premultiplied(file.image)
        assert file.image.convert("LA").getpixel((0, 0)) == (127, 200)


def test_black_ink_is_refused() -> None:
    content = with_extra_channel(encode(Image.new("RGBA", (24, 16))), IS_BLACK)
    for read in (probe, read_file):
        with pytest.raises(
            InputError, match="the data is a CMYK JPEG XL, whose black channel cannot be read"
        ):
            read(content)


@needs_cjxl
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)], ids=["8 bits", "16 bits"])
@pytest.mark.parametrize("options", [("-d", "0"), ("-d", "1"), ("-d", "0", "--container=1")])
def test_depth_of_others_files(
    tmp_path: Path, dtype: type[np.uint8 | np.uint16], bits: int, options: tuple[str, ...]
) -> None:
    gray = np.arange(40 * 30, dtype=dtype).reshape(30, 40)
    content = cjxl(tmp_path, Image.fromarray(gray), "a.png", *options)
    found = announcement(io.BytesIO(content))
    assert (found.height, found.width, found.depth_bits, found.animated) == (30, 40, bits, False)


@needs_cjxl
def test_animations_are_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    noise().save(content, "GIF", save_all=True, append_images=[noise("L")], duration=100)
    with Image.open(content) as animation:
        encoded = cjxl(tmp_path, animation, "a.gif")
    assert announcement(io.BytesIO(encoded)).animated
    with pytest.raises(InputError, match="animated") as caught, opened(encoded):
        pass
    assert "GIF" in str(caught.value.hint)


@needs_cjxl
def test_jpegs_kept_inside_are_read(tmp_path: Path) -> None:
    encoded = cjxl(tmp_path, noise(), "a.jpg")
    with opened(encoded) as file, Image.open(tmp_path / "a.jpg") as jpeg:
        assert (np.asarray(file.image) == np.asarray(jpeg)).all()


@pytest.mark.skipif(shutil.which("djxl") is None, reason="needs libjxl's programs")
def test_djxl_reads_the_same(tmp_path: Path) -> None:
    image = noise("RGBA")
    (tmp_path / "a.jxl").write_bytes(encode(image))
    command = ["djxl", tmp_path / "a.jxl", tmp_path / "a.png"]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(tmp_path / "a.png") as theirs:
        assert (np.asarray(theirs) == np.asarray(image)).all()
