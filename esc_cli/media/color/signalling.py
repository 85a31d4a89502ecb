"""Make ICC profiles from the color information that files state in other ways.

In an ICC profile, this information is handled like any other profile: formats can hold it, and programs
understand it.
"""

import re
import struct
from collections.abc import Mapping

import numpy as np
from PIL import Image

from esc_cli.media.color.profiles import (
    Array,
    Primaries,
    gray_profile,
    power_curve,
    rgb_profile,
    sampled_curve,
    srgb_curve,
)
from esc_cli.media.pillow import is_gray

CodePoints = tuple[int, int]
"""Color primaries and transfer characteristics, as numbered in Rec. ITU-T H.273."""

_UNSPECIFIED = 2
_SRGB: CodePoints = (1, 13)

_SRGB_GAMMA = 0.45455
_SMALLEST_DIFFERENCE = 0.005
_LARGEST_GAMMA = 10.0

_PNG_SIGNATURE_BYTES = 8


def profile_of_png(image: Image.Image, header: bytes) -> bytes | None:
    """Make the profile of a PNG from its cICP, or from gAMA and cHRM if it has no profile.

    Args:
        image: The image as it was opened.
        header: The first bytes of the file: 64 KiB are enough.

    Returns:
        An RGB profile, or a gray profile for a gray picture, that replaces one in the file. None for sRGB,
        for unknown color information, and if the file's own profile applies.

    Source: PNG, third edition, 4.3 (precedence) and 11.3.2.
    """
    gray, has_profile = is_gray(image), bool(image.info.get("icc_profile"))
    points = _cicp(header)
    if points is not None:
        # If the file also has a profile that states something else, sRGB must be stated explicitly.
        return _of_code_points(points, gray, say_srgb=has_profile)
    return None if has_profile else _of_chunks(image.info, gray)


def profile_of_nclx(image: Image.Image, header: bytes) -> bytes | None:
    """Make the profile of an AVIF or HEIC from its nclx, if the file has no profile.

    Source: ISO/IEC 23008-12 (HEIF), 6.5.5.
    """
    points = None if image.info.get("icc_profile") else _nclx(header)
    return None if points is None else _of_code_points(points, is_gray(image))


def _of_code_points(points: CodePoints, gray: bool, say_srgb: bool = False) -> bytes | None:
    given = (
        default if point == _UNSPECIFIED else point for point, default in zip(points, _SRGB, strict=True)
    )
    primaries, curve = PRIMARIES.get(next(given)), transfer_curve(next(given))
    if primaries is None or curve is None:
        return None
    same_colors = gray or primaries is PRIMARIES[1]
    if same_colors and curve == srgb_curve() and not say_srgb:
        return None
    return gray_profile(curve) if gray else rgb_profile(primaries, curve)


def _of_chunks(info: Mapping[str | tuple[int, int], object], gray: bool) -> bytes | None:
    """Make a profile from PNG's gAMA and cHRM, as Pillow reports them. A missing one defaults to sRGB's."""
    if "srgb" in info:
        return None
    primaries = None if gray else _of_chromaticities(info.get("chromaticity"))
    gamma = info.get("gamma")
    curve = _of_gamma(gamma) if isinstance(gamma, float) else None
    if primaries is None and curve is None:
        return None
    return (
        gray_profile(curve)
        if gray and curve
        else rgb_profile(primaries or PRIMARIES[1], curve or srgb_curve())
    )


def _of_chromaticities(chromaticities: object) -> Primaries | None:
    """Return the primaries of a cHRM chunk; None for sRGB's and for invalid ones.

    The chunk lists white, red, green and blue.
    """
    if not isinstance(chromaticities, tuple) or len(chromaticities) != 8:
        return None
    white, red, green, blue = zip(chromaticities[::2], chromaticities[1::2], strict=True)
    primaries = Primaries(red, green, blue, white)
    return None if primaries.is_near(PRIMARIES[1]) or primaries.colorants() is None else primaries


def _of_gamma(gamma: float) -> bytes | None:
    """Return the curve of a gAMA chunk; None for sRGB's and for invalid values.

    The chunk holds the inverse of a display's gamma.
    """
    usual = abs(gamma - _SRGB_GAMMA) < _SMALLEST_DIFFERENCE
    return power_curve(1 / gamma) if 1 / _LARGEST_GAMMA <= gamma <= _LARGEST_GAMMA and not usual else None


def _cicp(header: bytes) -> CodePoints | None:
    """Return the code points of a cICP chunk, which precedes the pixels. Source: PNG 5.3 and 11.3.2.6."""
    position = _PNG_SIGNATURE_BYTES
    while position + 12 <= len(header):
        length, name = struct.unpack_from(">I4s", header, position)
        if name == b"cICP":
            return header[position + 8], header[position + 9]
        if name == b"IDAT":
            return None
        position += length + 12
    return None


def _nclx(header: bytes) -> CodePoints | None:
    """Return the code points of the first colr box of type nclx. Source: ISO/IEC 14496-12, 12.1.5."""
    found = re.search(rb"colrnclx(..)(..)", header, re.DOTALL) if header[4:8] == b"ftyp" else None
    return None if found is None else (int.from_bytes(found[1]), int.from_bytes(found[2]))


# The code points


# Source: Rec. ITU-T H.273, table 2.
PRIMARIES: Mapping[int, Primaries] = {
    1: Primaries((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),  # BT.709, sRGB
    4: Primaries((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), (0.310, 0.316)),  # BT.470 M
    5: Primaries((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)),  # BT.601, 625 lines
    6: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # BT.601, 525 lines
    7: Primaries((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # SMPTE ST 240
    9: Primaries((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    11: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),  # DCI P3
    12: Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
    22: Primaries((0.630, 0.340), (0.295, 0.605), (0.155, 0.077)),  # EBU Tech 3213
}
"""RGB primaries by code point."""


def transfer_curve(code: int) -> bytes | None:
    """Return a display's tone curve by code point, in the form of ICC; None if the code point is unknown.

    For television (1, 6, 14, 15), Rec. ITU-T H.273 gives the functions of cameras, but displays have another
    function, and pictures with these code points are in fact sRGB. Chromium uses sRGB's function for all four
    (ui/gfx/color_space.cc, GetTransferFunction), and so do libultrahdr and this program.

    Source: Rec. ITU-T H.273, table 3.
    """
    match code:
        case 1 | 6 | 13 | 14 | 15:
            return srgb_curve()
        case 4 | 5:
            return power_curve(2.2 if code == 4 else 2.8)
        case 8:
            return power_curve(1.0)
        case 16:
            return sampled_curve(_pq)
        case 18:
            return sampled_curve(_hlg)
    return None


def _pq(signal: Array) -> Array:
    """Return the light of a signal, as a share of 10,000 cd/m2.

    Source: Rec. ITU-R BT.2100-2, table 4 (EOTF).
    """
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    root = signal ** (1 / m2)
    light: Array = (np.maximum(root - c1, 0) / (c2 - c3 * root)) ** (1 / m1)
    return light


def _hlg(signal: Array) -> Array:
    """Return the light of a neutral signal on a display of 1000 cd/m2, as a share of its peak.

    Source: Rec. ITU-R BT.2100-2, table 5 (inverse OETF, and the OOTF with a system gamma of 1.2).
    """
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    return scene.clip(0, 1) ** 1.2
