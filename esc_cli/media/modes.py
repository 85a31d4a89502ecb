"""Every way Pillow holds pixels, brought to 8 bits of gray or RGB, with or without alpha."""

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageCms, TiffImagePlugin

from esc_cli.media.pillow import PILLOW_ERRORS

if TYPE_CHECKING:
    import numpy.typing as npt

_WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
_GRAY_MODES = ("1", "L", "LA", "La")
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


def to_eight_bits(image: Image.Image, depth_bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Convert a decoded picture.

    Args:
        image: Of any mode.
        depth_bits: Bits a channel in its file.

    Returns:
        The picture in mode L, LA, RGB or RGBA, and a sentence on each thing that was changed on the way.
    """
    if image.mode in _WIDE_MODES:
        return _narrowed(image, depth_bits)
    if image.mode == "CMYK":
        return _cmyk_to_rgb(image)
    if image.mode == "LAB":
        return _lab_to_rgb(image), ("Lab colors were converted to sRGB",)
    note = _reduction(depth_bits) if depth_bits > 8 else ()
    return _plain(image, depth_bits), note


def _plain(image: Image.Image, depth_bits: int) -> Image.Image:
    alpha = image.has_transparency_data
    if image.mode in _GRAY_MODES:
        return image.convert("LA" if alpha else "L")
    transparent = image.info.get("transparency")
    if depth_bits == 16 and isinstance(transparent, tuple):
        # Pillow keeps the upper byte of 16-bit pixels, but both bytes of the color which is transparent.
        image.info["transparency"] = tuple(value >> 8 for value in transparent)
    return image.convert("RGBA" if alpha else "RGB")


def _reduction(depth_bits: int) -> tuple[str]:
    return (f"{depth_bits} bits a channel were reduced to 8",)


def _narrowed(image: Image.Image, depth_bits: int) -> tuple[Image.Image, tuple[str, ...]]:
    """Reduce 16-bit integers, 32-bit integers and floats. Source: PNG 13.12, the linear equation."""
    values = np.asarray(image)
    black, white = _range(values, depth_bits)
    scaled = (values.astype(np.float32) - black) * np.float32(255 / (white - black))
    gray = np.nan_to_num(scaled).clip(0, 255).round().astype(np.uint8)
    if _is_negative(image):
        gray = 255 - gray
    narrow = Image.fromarray(gray)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        narrow.putalpha(Image.fromarray(np.where(values == transparent, 0, 255).astype(np.uint8)))
    return narrow, _reduction(depth_bits)


def _range(values: "npt.NDArray[Any]", depth_bits: int) -> tuple[float, float]:
    """Black and white of a picture, as numbers in its file.

    16-bit integers say it by their depth. Floats and 32-bit integers do not: the smallest usual range which
    holds all of them is taken, and their own range where they exceed all usual ones.
    """
    if values.dtype.itemsize == 2:
        return 0, 2**depth_bits - 1
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    usual = (1.0, 255.0, 65_535.0) if values.dtype.kind == "f" else (255.0, 65_535.0)
    white = next((white for white in usual if high <= white), high)
    return min(low, 0.0), white


def _is_negative(image: Image.Image) -> bool:
    """Whether a wide TIFF has white at 0; Pillow inverts only those of 8 bits and fewer."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return False
    return bool(image.tag_v2.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO)


def _cmyk_to_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    profile = image.info.get("icc_profile")
    if profile:
        try:
            return _through_profile(image, profile), ("CMYK was converted to sRGB through its color profile",)
        except (ImageCms.PyCMSError, *PILLOW_ERRORS):
            pass  # a profile which is broken, or not of CMYK, is as good as none
    return image.convert("RGB"), ("CMYK without a usable color profile was converted by the plain formula",)


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    converted = ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        # Relative colorimetric alone would crush the shadows: ink's black is lighter than a display's.
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if converted is None:  # only where the conversion is in place
        raise ValueError("no picture came back")
    return converted


def _lab_to_rgb(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransform(lab, srgb, "LAB", "RGB")
    return transform.apply(image)
