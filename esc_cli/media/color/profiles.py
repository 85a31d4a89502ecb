"""Make ICC profiles of displays from primaries and a tone curve.

Pillow's ImageCms can make a profile only of sRGB. Littlecms itself can make any profile, but its only
maintained binding is imagecodecs (80 MB installed), which writes the time of day into the profile.
"""

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Chromaticity = tuple[float, float]

D65 = (0.3127, 0.3290)

# Source: ICC.1:2022, 7.2.16 (the illuminant D50 of the profile connection space) and Annex E (the Bradford
# matrix, and the adaptation of a display's white point to D50).
_D50 = np.array((0.9642, 1.0, 0.8249))
_BRADFORD = np.array(((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)))

# Below these limits, numbers leave the range of s15Fixed16Number. ProPhoto's blue has a y of 0.0001.
_SMALLEST_Y = 5e-5
_SMALLEST_PARALLELOGRAM = 1e-3  # area that the three primaries span; sRGB has 0.22
_CURVE_POINTS = 4096


@dataclass(frozen=True)
class Primaries:
    """The red, green and blue primaries of an RGB space and its white point, each as CIE 1931 x and y."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity = D65

    @classmethod
    def of(cls, numbers: Sequence[float]) -> "Primaries":
        """Return the primaries with these numbers, as ``numbers`` lists them.

        Raises:
            ValueError: There are not eight numbers.
        """
        red, green, blue, white = zip(numbers[::2], numbers[1::2], strict=True)
        return cls(red, green, blue, white)

    @property
    def numbers(self) -> tuple[float, ...]:
        """The eight numbers, as files list them: x and y of red, green, blue and white."""
        return (*self.red, *self.green, *self.blue, *self.white)

    def is_near(self, other: "Primaries") -> bool:
        """Return whether no coordinate differs by more than the rounding in files."""
        return bool(np.allclose(self._table(), other._table(), rtol=0, atol=0.002))

    def colorants(self) -> Array | None:
        """Return the XYZ colors of the red, green and blue primaries, adapted to D50.

        Returns:
            Array of shape (3, 3), in which each column is the X, Y and Z of one primary. None if the
            primaries do not form a triangle of colors around their white point.
        """
        lights = self.to_xyz()
        return None if lights is None else adaptation(self.white) @ lights

    def to_xyz(self) -> Array | None:
        """Return the matrix from linear RGB to XYZ under the white point of the space itself.

        Returns:
            Array of shape (3, 3). None if the primaries do not form a triangle of colors around their white
            point.

        Source:
            SMPTE RP 177 (from chromaticities to tristimulus values).
        """
        table = self._table()
        if not ((table >= 0) & (table <= 1)).all() or (table[:, 1] < _SMALLEST_Y).any():
            return None
        (across, up), (far_across, far_up) = table[1] - table[0], table[2] - table[0]
        if abs(across * far_up - up * far_across) < _SMALLEST_PARALLELOGRAM:
            return None
        lights = np.stack((table[:, 0], table[:, 1], 1 - table.sum(axis=1))) / table[:, 1]  # XYZ with Y = 1
        weights = np.linalg.solve(lights[:, :3], lights[:, 3])
        return lights[:, :3] * weights if (weights > 0).all() else None

    def _table(self) -> Array:
        return np.array((self.red, self.green, self.blue, self.white))


# Tone curves


def power_curve(gamma: float) -> bytes:
    """Make a tone curve that is a power, 0 < gamma < 32768. Source: ICC.1:2022, 10.18, function type 0."""
    return _parametric(0, gamma)


def srgb_curve() -> bytes:
    """Make the tone curve of sRGB.

    Source: IEC 61966-2-1, 5.2, in the form of ICC.1:2022, 10.18, function type 3.
    """
    return _parametric(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def sampled_curve(light: Callable[[Array], Array]) -> bytes:
    """Make a tone curve that is a table of 16-bit numbers.

    Args:
        light: Function that returns the light of signals, both in [0, 1].

    Source:
        ICC.1:2022, 10.6 (curveType).
    """
    values = (light(np.linspace(0, 1, _CURVE_POINTS)) * 65_535).round().astype(">u2")
    return b"curv" + struct.pack(">4xI", _CURVE_POINTS) + values.tobytes()


def _parametric(function: int, *parameters: float) -> bytes:
    return b"para" + struct.pack(">4xHxx", function) + b"".join(map(_fixed, parameters))


# Profiles


def rgb_profile(primaries: Primaries, curve: bytes) -> bytes | None:
    """Make the profile of an RGB display.

    Args:
        primaries: Primaries of the display.
        curve: Tone curve of all three channels: `srgb_curve`, a `power_curve` or a `sampled_curve`.

    Returns:
        The profile, with the same bytes for the same arguments. None if `Primaries.colorants` returns None.

    Source:
        ICC.1:2022, 8.4.3 (three-component matrix-based display profiles).
    """
    colorants = primaries.colorants()
    if colorants is None:
        return None
    tags = {b"chad": _chad(primaries.white)}
    for channel, colorant in zip((b"r", b"g", b"b"), colorants.T, strict=True):
        tags |= {channel + b"XYZ": _xyz(colorant), channel + b"TRC": curve}
    return _profile(b"RGB ", tags)


def gray_profile(curve: bytes) -> bytes:
    """Make the profile of a gray display. Source: ICC.1:2022, 8.4.4 (monochrome)."""
    return _profile(b"GRAY", {b"kTRC": curve, b"chad": _chad(D65)})


def adaptation(white: Chromaticity) -> Array:
    """Return the matrix that adapts XYZ from a white point to D50. Source: ICC.1:2022, Annex E.2."""
    x, y = white
    cones = _BRADFORD @ np.array((x / y, 1.0, (1 - x - y) / y))
    matrix: Array = np.linalg.solve(_BRADFORD, np.diag(_BRADFORD @ _D50 / cones)) @ _BRADFORD
    return matrix


def _profile(space: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """Make a display profile of version 4.4 that includes the tags that all profiles must have.

    Source: ICC.1:2022, 7.2 (the header, 128 bytes) and 7.3 (the table of tags; equal ones share their bytes).
    """
    texts = {b"desc": _text("Made from the color information of the file"), b"cprt": _text("CC0")}
    tags = {**texts, b"wtpt": _xyz(_D50), **tags}
    offset = 128 + 4 + 12 * len(tags)
    table, data, places = struct.pack(">I", len(tags)), b"", dict[bytes, int]()
    for name, content in tags.items():
        if content not in places:
            places[content] = offset + len(data)
            data += content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", places[content], len(content))
    return _header(offset + len(data), space) + table + data


def _header(size: int, space: bytes) -> bytes:
    """Make the header. The date is fixed, so that equal files get equal profiles.

    Source: ICC.1:2022, table 17.
    """
    date = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    beginning = struct.pack(">I4xI", size, 0x0440_0000) + b"mntr" + space + b"XYZ " + date + b"acsp"
    illuminant = b"".join(map(_fixed, _D50))
    return beginning + bytes(68 - len(beginning)) + illuminant + bytes(128 - 68 - len(illuminant))


def _chad(white: Chromaticity) -> bytes:
    """Encode a chromatic adaptation matrix. Source: ICC.1:2022, 9.2.15 (chromaticAdaptationTag)."""
    return b"sf32" + bytes(4) + b"".join(map(_fixed, adaptation(white).flat))


def _xyz(values: Array) -> bytes:
    """Encode XYZ values. Source: ICC.1:2022, 10.31 (XYZType)."""
    return b"XYZ " + bytes(4) + b"".join(map(_fixed, values))


def _text(text: str) -> bytes:
    """Encode a text.

    Source: ICC.1:2022, 10.15 (multiLocalizedUnicodeType): one record of 12 bytes, then its text.
    """
    content = text.encode("utf-16-be")
    return b"mluc" + struct.pack(">4xII2s2sII", 1, 12, b"en", b"US", len(content), 28) + content


def _fixed(value: float) -> bytes:
    """Encode a fixed-point number. Source: ICC.1:2022, 4.6 (s15Fixed16Number)."""
    return struct.pack(">i", round(value * 65_536))
