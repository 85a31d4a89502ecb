"""Color management: convert pictures from their own color space to sRGB."""

import io
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import ImageCms
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media.picture import Picture
from esc_cli.media.vips import libvips, translated

Array = npt.NDArray[np.integer[Any] | np.floating[Any]]

_STRIP_PX = 2**22


def to_srgb(picture: Picture) -> Picture:
    """Convert a picture from the space of its color profile to sRGB; gray stays gray.

    The conversion is relative colorimetric, the only intent that most display profiles support. Colors inside
    sRGB stay unchanged, and colors outside it are clipped. Black is mapped to black, since the formats that
    need this conversion are for screens.

    Args:
        picture: Picture of any depth. Floats are converted with 16 bits of precision.

    Returns:
        The picture at the same depth and without a profile. If it had no usable profile, the pixels are
        unchanged; a profile that is not usable is noted.
    """
    profile = picture.metadata.icc_profile
    if profile is None:
        return picture
    metadata = replace(picture.metadata, icc_profile=None)
    if not is_usable(profile, picture.gray):
        note = "a color profile that is damaged or does not fit the picture was left out"
        return replace(picture, metadata=metadata, notes=(*picture.notes, note))
    return replace(picture, color=_converted(picture.color, profile, picture.gray), metadata=metadata)


def is_usable(profile: bytes, gray: bool) -> bool:
    """Return whether littlecms can convert from a profile.

    For a profile that is not usable, libvips would silently assume sRGB.
    """
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), "L" if gray else "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return False
    return True


def _converted(color: Tensor, profile: bytes, gray: bool) -> Tensor:
    """Convert colors of shape (1, 3, H, W) and any pixel type.

    A few rows are converted at a time, since libvips needs a copy with interleaved channels.
    """
    result = torch.empty_like(color)
    rows = max(1, _STRIP_PX // color.shape[-1])
    for source, target in zip(torch.split(color[0], rows, 1), torch.split(result[0], rows, 1), strict=True):
        planes = source[:1].numpy() if gray else source.numpy()
        pixels = planes.transpose(1, 2, 0)
        narrow = planes.dtype == np.uint8 and not gray
        converted = through_profile(np.ascontiguousarray(pixels if narrow else _wide(pixels)), profile)
        if not narrow:
            converted = _like(planes, converted)
        # For gray, one channel is taken: littlecms makes the three differ a little.
        target.numpy()[:] = converted[..., 1] if gray else converted.transpose(2, 0, 1)
    return result


def _wide(values: Array) -> Array:
    """Convert values of any pixel type to 16 bits."""
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * np.uint16(257)
    return (values * np.float32(65_535)).round().astype(np.uint16) if values.dtype.kind == "f" else values


def _like(example: Array, wide: Array) -> Array:
    """Convert 16-bit values to the type of the example."""
    if example.dtype == np.uint8:
        return (wide / np.float32(257)).round().astype(np.uint8)
    return wide.astype(np.float32) / np.float32(65_535) if example.dtype.kind == "f" else wide


def through_profile(pixels: Array, profile: bytes) -> Array:
    """Convert pixels from the space of a profile to sRGB.

    16-bit pixels are converted by way of XYZ. For a direct transformation between two 16-bit spaces,
    littlecms uses a table of 33 colors per side: its error is up to 11 of 255 on photos and 24 on random
    colors, while by way of XYZ it is 1 and 2 (for Display P3, Adobe RGB and ProPhoto, compared with their
    formulas). In 8 bits, littlecms computes the colors without a table and is accurate, except for gray:
    there the error is up to 10, and by way of XYZ it is 1.

    Args:
        pixels: Contiguous array of shape (H, W, C), uint8 or uint16, with one or three channels.
        profile: Profile for which `is_usable` is true.

    Returns:
        Array of shape (H, W, 3) and the same type.
    """
    vips = libvips()
    height, width, channels = pixels.shape
    deep = pixels.dtype == np.uint16
    space = {(1, False): "b-w", (3, False): "srgb", (1, True): "grey16", (3, True): "rgb16"}[channels, deep]
    image = vips.Image.new_from_memory(pixels.data, width, height, channels, "ushort" if deep else "uchar")
    image = image.copy(interpretation=space)
    image.set_type(vips.GValue.blob_type, "icc-profile-data", profile)
    how = {"intent": "relative", "black_point_compensation": True}
    with translated(InputError, "the color profile cannot be used"):
        if deep:
            linear = image.icc_import(embedded=True, pcs="xyz", **how)
            image = linear.icc_export(output_profile="srgb", pcs="xyz", depth=16, **how)
        else:
            image = image.icc_transform("srgb", embedded=True, depth=8, **how)
        converted: Array = image.numpy()
    return converted
