"""Test that libtiff writes nothing to stderr, and that damage that it passes over is said."""

import ctypes
import io
from collections.abc import Callable

import pytest
from PIL import Image, _imaging

from esc_cli.errors import InputError
from esc_cli.media.libtiff import DAMAGE, quiet_libtiff
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file
from esc_cli.media.tiff_directories import TiffReader

Encode = Callable[..., bytes]

STRIP_OFFSETS, STRIP_BYTES = 273, 279


def damaged(content: bytes, at: float) -> bytes:
    """Invert a byte of the first strip; ``at`` is its place, from 0 to 1."""
    reader = TiffReader(io.BytesIO(content))
    entries = reader.directory(reader.first).entries
    start, size = (reader.number(entries[tag]) for tag in (STRIP_OFFSETS, STRIP_BYTES))
    place = start + int(at * size)
    return content[:place] + bytes((content[place] ^ 0xFF,)) + content[place + 1 :]


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd"])
def test_damage_is_said_in_our_words_alone(
    compression: str, encode: Encode, capfd: pytest.CaptureFixture[str]
) -> None:
    content = encode(Image.effect_noise((60, 40), 60).convert("RGB"), "TIFF", compression=compression)
    refused = 0
    for step in range(20):
        try:
            read_file(damaged(content, step / 20))
        except InputError as error:
            refused += 1
            assert "(" not in error.message
    assert refused or compression in ("packbits", "jpeg")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("compression", ["group3", "group4"])
def test_lines_of_a_fax_that_are_wrong(
    compression: str, encode: Encode, capfd: pytest.CaptureFixture[str]
) -> None:
    content = encode(Image.effect_noise((60, 40), 60).convert("1"), "TIFF", compression=compression)
    assert read_file(content).first.notes == ()
    noted = [read_file(damaged(content, step / 20)).first.notes for step in range(20)]
    assert (DAMAGE,) in noted or compression == "group3"  # of which libtiff complains in warnings
    assert set(noted) <= {(DAMAGE,), ()}
    assert read_file(content).first.notes == ()
    assert capfd.readouterr().err == ""


def test_odd_tags_are_read_without_a_word(encode: Encode, capfd: pytest.CaptureFixture[str]) -> None:
    image = Image.effect_noise((60, 40), 60)
    content = encode(image, "TIFF", compression="tiff_lzw", tiffinfo={65_000: 5, 33_432: "©", 285: "page"})
    assert probe(content).notes == read_file(content).first.notes == ()
    assert capfd.readouterr().err == ""


def test_the_process_s_own_handler_comes_back() -> None:
    set_handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    theirs = set_handler(None)
    set_handler(theirs)
    with quiet_libtiff():
        inside = set_handler(theirs)
        set_handler(inside)
        assert inside != theirs
    assert set_handler(theirs) == theirs
