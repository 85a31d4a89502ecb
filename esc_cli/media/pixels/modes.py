"""Convert pixels from every Pillow mode to gray or RGB, with or without alpha, at full bit depth."""

from dataclasses import replace

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.ExifTags import Base as Tag

from esc_cli.media.color.converted import cmyk_to_rgb, conversion_note, lab_to_rgb
from esc_cli.media.metadata.no_data import no_data_of
from esc_cli.media.pillow import WIDE_MODES, is_gray
from esc_cli.media.pixels.bits import reduction_note
from esc_cli.media.pixels.depth import (
    Array,
    Pixels,
    from_floats,
    from_integers,
    from_signed_integers,
    from_wide_integers,
)

_WHITE_IS_ZERO, _SIGNED = 0, 2


def pixels_of(image: Image.Image, file_bits: int) -> Pixels:
    """Return the pixels of a decoded image.

    Args:
        image: Image of any mode.
        file_bits: Bits per channel in the file. If the image's mode has fewer, this is noted.

    Returns:
        The pixels, which are upright only if the image was.
    """
    if image.mode in WIDE_MODES:
        return _wide(image, file_bits)
    narrow, notes = _eight_bits(image, file_bits)
    if file_bits > 8:
        notes = (*notes, reduction_note(file_bits, 8))
    return Pixels(np.atleast_3d(np.asarray(narrow)), notes=notes)


def _eight_bits(image: Image.Image, file_bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the picture in mode L, LA, RGB or RGBA, and a sentence for each change on the way."""
    note = conversion_note(image.mode, image.info.get("icc_profile"))
    notes = () if note is None else (note,)
    if image.mode == "CMYK":
        return cmyk_to_rgb(image), notes
    return (lab_to_rgb(image) if image.mode == "LAB" else _plain(image, file_bits)), notes


def _plain(image: Image.Image, file_bits: int) -> Image.Image:
    alpha = image.has_transparency_data
    transparent = image.info.get("transparency")
    if file_bits in (2, 4) and image.mode == "L" and isinstance(transparent, int):
        # Pillow scales samples to 8 bits, but not the value of the transparent sample.
        image.info["transparency"] = transparent * (255 // (2**file_bits - 1))
    if is_gray(image):
        return image.convert("LA" if alpha else "L")
    if file_bits == 16 and isinstance(transparent, tuple):
        # Pillow keeps the upper byte of 16-bit pixels, but both bytes of the transparent color.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    return image.convert("RGBA" if alpha else "RGB")


def _wide(image: Image.Image, file_bits: int) -> Pixels:
    """Convert a gray image of 16-bit integers, 32-bit integers or floats."""
    values = np.asarray(image)[..., np.newaxis]
    transparent = image.info.get("transparency")
    if values.dtype.kind == "f":
        pixels = from_floats(values, no_data_of(image))
    elif values.dtype.itemsize == 2:
        pixels = from_integers(values.astype(np.uint16, copy=False), min(file_bits, 16))
    elif file_bits == 16 and _is_signed(image):
        pixels = from_signed_integers(values)
    else:
        pixels = from_wide_integers(values)
    gray = pixels.values
    if _is_negative(image):
        gray = np.concatenate((_opaque(gray) - gray[..., :1], gray[..., 1:]), axis=2)
    if isinstance(transparent, int):
        gray = np.concatenate((gray, _opaque(gray) * (values != transparent).astype(gray.dtype)), axis=2)
    return replace(pixels, values=gray)


def _is_signed(image: Image.Image) -> bool:
    """Return whether a TIFF holds signed integers; Pillow decodes 16-bit ones to 32 bits."""
    return _tiff_value(image, Tag.SampleFormat) == (_SIGNED,)


def _opaque(values: Array) -> "np.generic":
    number: np.generic = values.dtype.type(1 if values.dtype.kind == "f" else 65_535)
    return number


def _is_negative(image: Image.Image) -> bool:
    """Return whether a wide TIFF has white at 0; Pillow inverts only pictures of 8 bits and fewer."""
    return _tiff_value(image, Tag.PhotometricInterpretation) == _WHITE_IS_ZERO


def _tiff_value(image: Image.Image, tag: int) -> object:
    """Return the value of a tag; None if the tag is missing or the image is not a TIFF."""
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
