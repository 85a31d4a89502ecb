"""Pictures whose values are light: profiles for them, and conversion from and to values for a screen.

In such a picture, 1 is the white of a screen, and lamps and the sun are brighter.
"""

import io
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from PIL import ImageCms

from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.color.profiles import Array, Primaries, gray_profile, power_curve, rgb_profile
from esc_cli.media.color.signalling import PRIMARIES
from esc_cli.media.color.srgb import encoded, light_of
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.bits import FLOAT_BITS

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


def on_white(picture: Picture) -> Picture:
    """Blend light with the white of a screen where it is transparent, for formats without alpha."""
    if picture.alpha is None:
        return picture
    black, white = picture.value_range
    level = (1 - black) / (white - black)
    return replace(picture, color=picture.color * picture.alpha + level * (1 - picture.alpha), alpha=None)


def is_light(picture: Picture) -> bool:
    """Return whether a picture that was read has floats that are light."""
    source = FORMATS.get(picture.format)
    return source is not None and source.scene_linear and picture.depth_bits == FLOAT_BITS


def to_screen(picture: Picture) -> Picture:
    """Convert light to sRGB as a screen shows it: what is brighter than white becomes white.

    Returns:
        Floats from 0 to 1, in sRGB and without a profile. A picture that is not light is returned as it is.
    """
    if not is_light(picture):
        return picture
    black, white = picture.value_range
    primaries = primaries_of(picture.metadata.icc_profile)
    color = picture.color * (white - black) + black
    if primaries is not None:
        color = torch.einsum("ij,njhw->nihw", torch.from_numpy(_to_srgb(primaries)).to(color), color)
    metadata = replace(picture.metadata, icc_profile=None)
    return replace(picture, color=encoded(color.clamp_(0, 1)), value_range=(0.0, 1.0), metadata=metadata)


def _to_srgb(primaries: Primaries) -> Array:
    """Return the matrix from linear colors to those of sRGB."""
    matrix: Array = np.linalg.inv(cast(Array, _BT_709.colorants())) @ cast(Array, primaries.colorants())
    return matrix


def as_light(picture: Picture) -> Picture:
    """Convert a picture to light with the primaries of sRGB. Floats are taken as light as they are."""
    if picture.depth_bits == FLOAT_BITS:
        return picture
    shown = to_srgb(picture)
    light = torch.empty(shown.color.shape, dtype=torch.float32)
    for target, plane in zip(light[0], shown.color[0], strict=True):
        values = plane.numpy() / np.float32(torch.iinfo(plane.dtype).max)
        target[:] = light_of(torch.from_numpy(values))
    alpha = shown.alpha
    if alpha is not None:
        alpha = torch.from_numpy(alpha.numpy() / np.float32(torch.iinfo(alpha.dtype).max))
    return replace(shown, color=light, alpha=alpha, depth_bits=FLOAT_BITS)
