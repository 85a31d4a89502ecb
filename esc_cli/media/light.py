"""Convert pictures between light, where 1 is the white of a screen, and values for a screen."""

from dataclasses import replace
from typing import cast

import numpy as np
import torch

from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.color.light import primaries_of
from esc_cli.media.color.profiles import Array, Primaries
from esc_cli.media.color.signalling import PRIMARIES
from esc_cli.media.color.srgb import encoded, light_of
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.bits import FLOAT_BITS

_BT_709 = PRIMARIES[1]


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
