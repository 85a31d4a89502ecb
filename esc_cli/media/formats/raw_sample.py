"""Write small camera raw files with known colors: `doctor` and the tests develop them.

The camera of these files sees the primaries of Rec. 2020, dimmed by the light of the scene.
"""

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt

from esc_cli.media.color.profiles import Array
from esc_cli.media.color.signalling import PRIMARIES
from esc_cli.media.tiff_directories import (
    ASCII,
    BYTE,
    LONG,
    RATIONAL,
    SHORT,
    SIGNED_RATIONAL,
    Field,
    Layout,
    Tree,
    directory_at,
)

_LAYOUT = Layout("<", big=False)
_REC_2020 = PRIMARIES[9]
_DENOMINATOR = 10_000

# Source: TIFF 6.0, appendix A; TIFF/EP (ISO 12234-2), CFARepeatPatternDim and CFAPattern; DNG 1.7, chapter 4.
_FULL, _FILTERS, _RED_GREEN_GREEN_BLUE = 0, 32_803, b"\0\1\1\2"
_DAYLIGHT = 21
_WHITE_LEVEL = 65_535


def dng(
    light: npt.NDArray[np.float64],
    *,
    neutral: Sequence[float] = (1.0, 1.0, 1.0),
    tags: Mapping[int, Field | Tree | None] = MappingProxyType({}),
) -> bytes:
    """Write a DNG as a camera with a Bayer filter would.

    Args:
        light: The scene, (H, W, 3): linear Rec. 2020 in [0, 1].
        neutral: What the camera records of a white object, from 0 to 1 for each color.
        tags: More tags of the first directory. They replace those that are written here; None removes one.

    Source:
        DNG 1.7, chapter 6: the camera's colors are ColorMatrix1 times XYZ, and AsShotNeutral is the white.
    """
    height, width = light.shape[:2]
    pixels = _mosaic((light * np.asarray(neutral)).clip(0, 1) * _WHITE_LEVEL)
    start = len(_LAYOUT.header(0))
    to_camera = np.diag(neutral) @ np.linalg.inv(cast(Array, _REC_2020.to_xyz()))
    directory = {
        254: _numbers(LONG, _FULL),
        256: _numbers(LONG, width),
        257: _numbers(LONG, height),
        258: _numbers(SHORT, 16),
        259: _numbers(SHORT, 1),
        262: _numbers(SHORT, _FILTERS),
        271: Field(ASCII, b"Example\0"),
        272: Field(ASCII, b"Example Camera\0"),
        273: _numbers(LONG, start),
        274: _numbers(SHORT, 1),
        277: _numbers(SHORT, 1),
        278: _numbers(LONG, height),
        279: _numbers(LONG, pixels.nbytes),
        33421: _numbers(SHORT, 2, 2),
        33422: Field(BYTE, _RED_GREEN_GREEN_BLUE),
        50706: Field(BYTE, b"\1\4\0\0"),
        50707: Field(BYTE, b"\1\1\0\0"),
        50708: Field(ASCII, b"Example Camera\0"),
        50717: _numbers(LONG, _WHITE_LEVEL),
        50721: _fractions(SIGNED_RATIONAL, to_camera.flatten()),
        50728: _fractions(RATIONAL, np.asarray(neutral)),
        50778: _numbers(SHORT, _DAYLIGHT),
    }
    held = {tag: value for tag, value in {**directory, **tags}.items() if value is not None}
    position = start + pixels.nbytes + pixels.nbytes % 2
    data = pixels.tobytes().ljust(position - start, b"\0")
    return _LAYOUT.header(position) + data + directory_at(position, held, _LAYOUT)


def _mosaic(colors: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
    """Return what the sensor records behind its filters: red, green; green, blue."""
    mosaic = colors[..., 1].copy()
    mosaic[::2, ::2] = colors[::2, ::2, 0]
    mosaic[1::2, 1::2] = colors[1::2, 1::2, 2]
    return mosaic.round().astype("<u2")


def _numbers(type: int, *numbers: int) -> Field:
    return Field(type, struct.pack(f"<{len(numbers)}{'H' if type == SHORT else 'I'}", *numbers))


def _fractions(type: int, values: npt.NDArray[np.float64]) -> Field:
    numerators = (values * _DENOMINATOR).round().astype("<i4")
    return Field(type, np.stack((numerators, np.full_like(numerators, _DENOMINATOR)), axis=1).tobytes())
