import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from esc_cli.errors import InputError, OutputError
from esc_cli.media import vips
from esc_cli.media.formats.tiff_decoding import decode_page

# Reads and writes a 16-bit picture, and prints when pyvips was loaded and the number of its threads.
READ_AND_WRITE = """
import os, sys
from pathlib import Path
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file
print("pyvips" in sys.modules)
file = read_file(Path(sys.argv[1]))
for name in ("PNG", "TIFF", "AVIF"):
    encode_file(file, FORMATS[name])
print("pyvips" in sys.modules)
import pyvips
print(pyvips.vips_lib.vips_concurrency_get())
"""


def samples(channels: int) -> "np.typing.NDArray[np.uint16]":
    return np.random.default_rng(channels).integers(0, 2**16, (40, 30, channels), np.uint16)


def encode_png(pixels: "np.typing.NDArray[np.uint16]") -> bytes:
    return vips.encode(pixels, "pngsave_buffer", {}, "PNG")


def decode_png(source: Path | bytes) -> vips.Array:
    return vips.decode(source, "pngload_buffer", "it")


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_and_tiff_come_back(channels: int) -> None:
    pixels = samples(channels)
    assert np.array_equal(decode_png(encode_png(pixels)), pixels)
    for large in (False, True):
        content = vips.encode(pixels, "tiffsave_buffer", {"bigtiff": large}, "TIFF")
        assert content[2] == (43 if large else 42)
        assert np.array_equal(decode_page(content, 0, "it"), pixels)
    floats = (pixels / 65_535).astype(np.float32)
    assert np.array_equal(decode_page(vips.encode(floats, "tiffsave_buffer", {}, "TIFF"), 0, "it"), floats)


def test_any_name_will_do(tmp_path: Path) -> None:
    pixels = samples(3)
    for name in (b"[page=2].png", b"\xff\xfe odd.png", "ünï [cöde].png".encode()):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(encode_png(pixels))
        assert np.array_equal(decode_png(path), pixels)


def test_only_the_format_that_is_named_is_read() -> None:
    with pytest.raises(InputError, match=r"^it is damaged, incomplete, or of an unsupported kind$"):
        decode_page(encode_png(samples(3)), 0, "it")


@pytest.mark.parametrize("tile_px", [16, 64])
def test_a_damaged_tile_is_an_error(make_tiff: Callable[..., bytes], tile_px: int) -> None:
    """Unless warnings count as errors, libvips decodes such a tile as black."""
    image = vips.libvips().Image.new_from_array(np.full((64, 64, 3), 40_000, np.uint16))
    good = image.tiffsave_buffer(compression="deflate", tile=True, tile_width=tile_px, tile_height=tile_px)
    bad = bytearray(good)
    bad[20:40] = bytes(20)
    assert (decode_page(good, 0, "it") == 40_000).all()
    with pytest.raises(InputError):
        decode_page(bytes(bad), 0, "it")


def test_oddities_of_a_tiff_are_no_error(make_tiff: Callable[..., bytes]) -> None:
    pixels = samples(4)
    for tags in ({}, {0x4746: 4}, {65_000: (1, 2, 3)}):  # no tag describes the fourth channel
        assert np.array_equal(decode_page(make_tiff(pixels, 2, tags), 0, "it"), pixels)


def test_what_cannot_be_encoded_is_said_without_the_library_s_words() -> None:
    with (
        pytest.raises(OutputError, match=r"^the picture cannot be written$"),
        vips.translated(OutputError, "the picture cannot be written"),
    ):
        vips.libvips().Image.black(10, 10).icc_transform("no such profile")


def test_it_is_quiet_and_loaded_when_needed(tmp_path: Path, make_tiff: Callable[..., bytes]) -> None:
    path = tmp_path / "odd.tif"
    path.write_bytes(make_tiff(samples(4), 2, {0x4746: 4}))
    done = subprocess.run(
        [sys.executable, "-c", READ_AND_WRITE, path], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "True", "1"]
    assert done.stderr == ""
