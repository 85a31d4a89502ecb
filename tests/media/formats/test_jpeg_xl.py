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
from esc_cli.media.formats.jpeg_xl import announcement, pixel_options, xmp_of
from esc_cli.media.opening import opened

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
