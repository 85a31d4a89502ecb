"""Color management: from a picture's own space to sRGB."""

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

    Colors outside sRGB are clipped: with relative colorimetry those inside stay what they are, and most
    displays' profiles know no other way. Black becomes black, as the formats that need this are for screens.

    Args:
        picture: Of any depth. Floats are converted with 16 bits of precision.

    Returns:
        Of the same depth and without a profile. Its pixels are as they were if it had none, or one which is
        damaged; that is noted.
    """
    profile = picture.metadata.icc_profile
    if profile is None:
        return picture
    metadata = replace(picture.metadata, icc_profile=None)
    if not is_usable(profile, picture.gray):
        note = "a color profile that is damaged, or of other colors, was left out"
        return replace(picture, metadata=metadata, notes=(*picture.notes, note))
    return replace(picture, color=_converted(picture.color, profile, picture.gray), metadata=metadata)


def is_usable(profile: bytes, gray: bool) -> bool:
    """Whether littlecms can convert from a profile; libvips would take sRGB in its place without a word."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), "L" if gray else "RGB", "RGB")
    except (ImageCms.PyCMSError, OSError):
        return False
    return True


def _converted(color: Tensor, profile: bytes, gray: bool) -> Tensor:
    """(1, 3, H, W) of any pixel type, some rows at a time, since libvips wants colors pixel by pixel."""
    result = torch.empty_like(color)
    rows = max(1, _STRIP_PX // color.shape[-1])
    for source, target in zip(torch.split(color[0], rows, 1), torch.split(result[0], rows, 1), strict=True):
        planes = source[:1].numpy() if gray else source.numpy()
        pixels = planes.transpose(1, 2, 0)
        narrow = planes.dtype == np.uint8 and not gray
        converted = through_profile(np.ascontiguousarray(pixels if narrow else _wide(pixels)), profile)
        if not narrow:
            converted = _like(planes, converted)
        # Of gray, one channel: littlecms makes them differ a little.
        target.numpy()[:] = converted[..., 1] if gray else converted.transpose(2, 0, 1)
    return result


def _wide(values: Array) -> Array:
    """Bring values of any pixel type to 16 bits."""
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * np.uint16(257)
    return (values * np.float32(65_535)).round().astype(np.uint16) if values.dtype.kind == "f" else values


def _like(example: Array, wide: Array) -> Array:
    """Bring values of 16 bits to the type of others."""
    if example.dtype == np.uint8:
        return (wide / np.float32(257)).round().astype(np.uint8)
    return wide.astype(np.float32) / np.float32(65_535) if example.dtype.kind == "f" else wide


def through_profile(pixels: Array, profile: bytes) -> Array:
    """Convert (H, W, C), uint8 or uint16 of one or three channels, to sRGB, (H, W, 3) of the same type.

    16 bits go by way of XYZ. Littlecms puts a table of 33 colors a side in place of a transformation from one
    space of 16 bits to another: on photos that is wrong by up to 11 of 255, on random colors by 24; by way of
    XYZ it is 1 and 2 (of Display P3, Adobe RGB and ProPhoto, against their formulas). In 8 bits it computes,
    and is right, but not of gray: there it is wrong by up to 10, and by way of XYZ by 1.

    Args:
        pixels: Contiguous.
        profile: One that `is_usable`.
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
