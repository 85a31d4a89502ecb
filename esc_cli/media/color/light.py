"""Make and read profiles of pictures whose values are light.

In such a picture, 1 is the white of a screen, and lamps and the sun are brighter.
"""

import io
from typing import cast

import numpy as np
from PIL import ImageCms

from esc_cli.media.color.profiles import Array, Primaries, gray_profile, power_curve, rgb_profile
from esc_cli.media.color.signalling import PRIMARIES

_BT_709 = PRIMARIES[1]


def light_profile(primaries: Primaries | None, *, gray: bool) -> bytes:
    """Make the profile of light.

    Args:
        primaries: The primaries; None and impossible ones mean those of sRGB.
        gray: Whether the picture is gray.
    """
    curve = power_curve(1.0)
    if gray:
        return gray_profile(curve)
    stated = None if primaries is None else rgb_profile(primaries, curve)
    return stated or cast(bytes, rgb_profile(_BT_709, curve))


def primaries_of(profile: bytes | None) -> Primaries | None:
    """Return the primaries of a profile that `light_profile` has made; None for those of sRGB, and for gray.

    Source: ICC.1:2022, 9.2.15 and Annex E: colorants are adapted to D50 by the matrix of the chad tag.
    """
    if profile is None or profile[16:20] != b"RGB ":
        return None
    tags = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
    if tags.red_colorant is None or tags.green_colorant is None or tags.blue_colorant is None:
        return None
    if tags.chromatic_adaptation is None:
        return None
    colorants = [tags.red_colorant, tags.green_colorant, tags.blue_colorant]
    adapted = np.array([colorant[0] for colorant in colorants]).T  # XYZ under D50, one primary a column
    lights = np.linalg.solve(np.array(tags.chromatic_adaptation[0]), adapted)
    red, green, blue, white = (_chromaticity(light) for light in (*lights.T, lights.sum(axis=1)))
    found = Primaries(red, green, blue, white)
    return None if found.is_near(_BT_709) else found


def _chromaticity(light: Array) -> tuple[float, float]:
    x, y, _z = (float(value) for value in light / light.sum())
    return x, y
