"""Kinds of TIFF that Pillow is told of, so that it reads their headers; libvips decodes the pixels."""

from collections.abc import Iterator
from functools import cache
from typing import cast

from PIL import TiffImagePlugin

# Source: TIFF 6.0, sections 8, 18 and 19: PhotometricInterpretation, ExtraSamples, SampleFormat.
_GRAYS, _RGB = (0, 1), 2
_INTEGERS, _FLOATS = (1,), (3,)
_NO_EXTRA: tuple[tuple[int, ...], ...] = ((),)
_ALPHA: tuple[tuple[int, ...], ...] = ((1,), (2,))  # associated, unassociated
_UNKNOWN = ((0,),)

_Kind = tuple[bytes, int, tuple[int, ...], int, tuple[int, ...], tuple[int, ...]]

_LEFT_TO_LIBVIPS = "left to libvips"
"""Pillow's name for how samples are stored: it has none of this name, and so fails where it would decode."""


@cache
def know_deep_tiffs() -> None:
    """Add to Pillow's table of TIFFs: gray of 16 bits with alpha, and floats that are not one plane of 32.

    Nothing that Pillow knows is changed. It could open none of these files before, and still decodes none
    but gray floats of 64 bits.
    """
    table = cast(dict[_Kind, tuple[str, str]], TiffImagePlugin.OPEN_INFO)
    for order, letter in ((b"II", ""), (b"MM", "B")):
        kinds: dict[_Kind, tuple[str, str]] = {
            (order, gray, _FLOATS, 1, (64,), ()): ("F", f"F;64{letter}F") for gray in _GRAYS
        }
        for kind, mode in _kinds(order):
            kinds[kind] = (mode, _LEFT_TO_LIBVIPS)
        for kind, modes in kinds.items():
            table.setdefault(kind, modes)


def _kinds(order: bytes) -> Iterator[tuple[_Kind, str]]:
    """Kinds of 16-bit integers and of floats, and the mode which has their channels."""
    for samples, bits in ((_INTEGERS, 16), (_FLOATS, 16), (_FLOATS, 32)):
        single = "F" if samples == _FLOATS else "I;16"
        shapes = [
            *((gray, 1, _NO_EXTRA, single) for gray in _GRAYS),
            *((gray, 2, _UNKNOWN, "L") for gray in _GRAYS),
            *((gray, 2, _ALPHA, "LA") for gray in _GRAYS),
            (_RGB, 3, _NO_EXTRA, "RGB"),
            (_RGB, 4, _UNKNOWN, "RGB"),
            (_RGB, 4, (*_NO_EXTRA, *_ALPHA), "RGBA"),
        ]
        for photometric, channels, extras, mode in shapes:
            for extra in extras:
                yield (order, photometric, samples, 1, (bits,) * channels, extra), mode
