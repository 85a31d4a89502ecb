"""Decode pages of TIFFs that Pillow would reduce or read wrongly, and apply the meaning of their samples.

libvips decodes the pages. Where it would apply the meaning wrongly, which includes all pages with one plane
for each channel, it gets a copy of the page that declares plain samples, and their meaning is applied here.
"""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from esc_cli.errors import InputError
from esc_cli.media import vips
from esc_cli.media.formats.tiff_copies import plain_pages
from esc_cli.media.formats.tiff_kinds import (
    ALPHA_MODES,
    COLORS,
    CONVERTED,
    Photometric,
    has_planes,
    is_associated,
    means_what_libvips_reads,
    only_pillow_decompresses,
    photometric_of,
    tags_of,
)
from esc_cli.media.metadata.no_data import no_data_of
from esc_cli.media.pixels.depth import (
    Array,
    Pixels,
    from_floats,
    from_integers,
    from_signed_integers,
    from_wide_integers,
    unpremultiplied,
)
from esc_cli.media.pixels.modes import pixels_of

_LARGEST_SHORT = 65_535


def decoded(image: Image.Image, source: Path | bytes, page: int, name: str) -> Pixels:
    """Decode the current page with libvips.

    Associated alpha is divided out. Channels that are neither color nor alpha are dropped.

    Args:
        image: The opened file.
        source: Path or content of the same file.
        page: Number of the page.
        name: Name of the file in messages.

    Returns:
        The pixels as they are stored, not turned.

    Raises:
        InputError: The page is damaged or incomplete.
    """
    if means_what_libvips_reads(image):
        values = decode_page(source, page, name)
        _check_size(values, image, name)
        return _numbers(values[..., : len(image.getbands())], image)
    values = _plain_samples(source, page, name, image)
    _check_size(values, image, name)
    return _pixels_of_samples(values, image)


def _check_size(values: Array, image: Image.Image, name: str) -> None:
    """Refuse a page with two entries of its width or height, of which libraries take one or the other."""
    tags = tags_of(image)
    if values.shape[:2] != (tags[Tag.ImageLength], tags[Tag.ImageWidth]):
        raise InputError(f"{name} is damaged: it states two sizes")


def _pixels_of_samples(values: Array, image: Image.Image) -> Pixels:
    """Apply the meaning of all samples of a page, of shape (H, W, C)."""
    photometric = photometric_of(image)
    values = values[..., : COLORS[photometric] + (image.mode in ALPHA_MODES)]
    if is_associated(image):
        values = unpremultiplied(values)
    if photometric not in (Photometric.WHITE_IS_ZERO, Photometric.BLACK_IS_ZERO, Photometric.RGB):
        return _through_pillow(values, photometric, image)
    pixels = _numbers(values, image)
    if photometric == Photometric.WHITE_IS_ZERO:
        pixels.values[..., 0] = _white_of(pixels.values) - pixels.values[..., 0]
    return pixels


def decode_page(source: Path | bytes, page: int, name: str) -> Array:
    """Decode a page as it is stored, or fail if a tile is damaged or missing.

    libvips only warns of such a tile and makes it black, so the first attempt fails on warnings. Harmless
    oddities cause warnings, too, but without a description. In this case, a second attempt fails on errors.

    Returns:
        Pixels of shape (H, W, C), with the data type and channels of the file.

    Raises:
        InputError: The file is damaged, incomplete or of a kind that libvips does not read.
    """
    return vips.decode(source, "tiffload_buffer", name, fail_on=("warning", "error"), page=page)


def _plain_samples(source: Path | bytes, page: int, name: str, image: Image.Image) -> Array:
    """Return all samples of a page as they are stored, of shape (H, W, C)."""
    content = plain_pages(source if isinstance(source, bytes) else source.read_bytes(), page)
    planes = tags_of(image).get(Tag.SamplesPerPixel, 1) if has_planes(image) else 1
    decode = _page_of_pillow if only_pillow_decompresses(image) else decode_page
    return np.concatenate([decode(content, plane, name) for plane in range(planes)], axis=2)


def _page_of_pillow(content: bytes, page: int, name: str) -> Array:
    with Image.open(io.BytesIO(content), formats=("TIFF",)) as image:
        image.seek(page)
        values = np.atleast_3d(np.array(image))
    return values.astype(values.dtype.newbyteorder("="))


def _white_of(values: Array) -> Any:
    return values.dtype.type(1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max)


def _numbers(values: Array, image: Image.Image) -> Pixels:
    """Scale gray or RGB, with or without alpha, to the types of pixels in memory.

    Of 32-bit integers, the largest is white in RGB and opaque in alpha, as TIFF 6.0 says, unless all of them
    are so small that they were meant for fewer bits. White in gray alone is not stated.
    """
    if values.dtype.kind == "f":
        return from_floats(values, no_data_of(image))
    if values.dtype.itemsize == 1:
        return from_signed_integers(values, 8) if values.dtype.kind == "i" else Pixels(values)
    if values.dtype.itemsize == 2:
        return from_signed_integers(values) if values.dtype.kind == "i" else from_integers(values, 16)
    pixels = from_wide_integers(values)
    if values.shape[2] > 1 and values.max() > _LARGEST_SHORT:
        return replace(pixels, values=(values >> 16).astype(np.uint16))
    return pixels


def _through_pillow(values: Array, photometric: int, image: Image.Image) -> Pixels:
    """Convert CMYK, Lab or YCbCr, with or without alpha, to sRGB of 8 bits."""
    file_bits, colors = 8 * values.dtype.itemsize, COLORS[photometric]
    narrow = _eight_bits(values, photometric)
    picture = Image.fromarray(np.ascontiguousarray(narrow[..., :colors]), CONVERTED.get(photometric, "YCbCr"))
    picture.info["icc_profile"] = image.info.get("icc_profile")
    pixels = pixels_of(picture, file_bits)
    return replace(pixels, values=np.concatenate((pixels.values, narrow[..., colors:]), axis=2))


def _eight_bits(values: Array, photometric: int) -> Array:
    if photometric in (Photometric.CIELAB, Photometric.ICCLAB):
        return _lab_of_pillow(values, icc=photometric == Photometric.ICCLAB)
    return values if values.dtype.itemsize == 1 else (values / np.float32(257)).round().astype(np.uint8)


def _lab_of_pillow(values: Array, icc: bool) -> Array:
    """Encode Lab of 8 or 16 bits as Pillow does: a and b have a sign, and an L of 100 is 255.

    Source: TIFF 6.0, section 23 (the same in 8 bits); TIFF technical note 4, ICCLab: 0 lies in the middle of
    a and b, and in 16 bits, an L of 100 is 0xFF00.
    """
    step, full = (1, 1) if values.dtype.itemsize == 1 else (256, 257)
    light = values[..., :1] / np.float32(step if icc else full)
    signed = np.dtype(f"i{values.dtype.itemsize}")
    hues = values[..., 1:3].astype(np.int32) - 128 * step if icc else values[..., 1:3].view(signed)
    hues = (hues / np.float32(step)).round().clip(-128, 127).astype(np.int8).view(np.uint8)
    others = (values[..., 3:] / np.float32(full)).round().astype(np.uint8)
    return np.concatenate((light.round().clip(0, 255).astype(np.uint8), hues, others), axis=2)
