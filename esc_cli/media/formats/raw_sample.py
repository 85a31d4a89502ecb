"""Write small camera raw files with known colors: `doctor` and the tests develop them.

The camera of these files sees the primaries of Rec. 2020, dimmed by the light of the scene.
"""

import struct
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL.ExifTags import Base as Tag

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
_FILTER_PATTERN, _RED_GREEN_GREEN_BLUE = 33_422, b"\0\1\1\2"
_FULL, _FILTERS = 0, 32_803
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
    directory: dict[int, Field] = {
        Tag.NewSubfileType: _numbers(LONG, _FULL),
        Tag.ImageWidth: _numbers(LONG, width),
        Tag.ImageLength: _numbers(LONG, height),
        Tag.BitsPerSample: _numbers(SHORT, 16),
        Tag.Compression: _numbers(SHORT, 1),
        Tag.PhotometricInterpretation: _numbers(SHORT, _FILTERS),
        Tag.Make: Field(ASCII, b"Example\0"),
        Tag.Model: Field(ASCII, b"Example Camera\0"),
        Tag.StripOffsets: _numbers(LONG, start),
        Tag.Orientation: _numbers(SHORT, 1),
        Tag.SamplesPerPixel: _numbers(SHORT, 1),
        Tag.RowsPerStrip: _numbers(LONG, height),
        Tag.StripByteCounts: _numbers(LONG, pixels.nbytes),
        Tag.CFARepeatPatternDim: _numbers(SHORT, 2, 2),
        _FILTER_PATTERN: Field(BYTE, _RED_GREEN_GREEN_BLUE),
        Tag.DNGVersion: Field(BYTE, b"\1\4\0\0"),
        Tag.DNGBackwardVersion: Field(BYTE, b"\1\1\0\0"),
        Tag.UniqueCameraModel: Field(ASCII, b"Example Camera\0"),
        Tag.WhiteLevel: _numbers(LONG, _WHITE_LEVEL),
        Tag.ColorMatrix1: _fractions(SIGNED_RATIONAL, to_camera.flatten()),
        Tag.AsShotNeutral: _fractions(RATIONAL, np.asarray(neutral)),
        Tag.CalibrationIlluminant1: _numbers(SHORT, _DAYLIGHT),
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
