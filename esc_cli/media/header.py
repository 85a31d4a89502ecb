"""What a picture's header says beyond what Pillow tells: bits a channel, and which way is up."""

import io
import re
from typing import TYPE_CHECKING, Any

from PIL import ExifTags, Image, ImageFile, PngImagePlugin, TiffImagePlugin

from esc_cli.media.pillow import PILLOW_ERRORS, Opened, own_name
from esc_cli.media.png import exif_chunk

if TYPE_CHECKING:
    import numpy.typing as npt

WIDE_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
"""Pillow's modes of more than 8 bits: gray only."""

FLOAT_BITS = 32
"""What stands for floats among bits a channel."""

_PICTURE_DEPTHS_BITS = (8, 10, 12, 16)

_TURNS_WHICH_SWAP_SIDES = (5, 6, 7, 8)
_TIFF_BITS_PER_SAMPLE = 258
_TIFF_ORIENTATION = 274
_TIFF_SAMPLE_FORMAT = 339
_TIFF_PHOTOMETRIC = 262
_TIFF_GRAY_AND_RGB = (0, 1, 2)
_UNSIGNED, _FLOATING = 1, 3
_DEEP_SAMPLES = ((_UNSIGNED, 16), (_UNSIGNED, 32), (_FLOATING, 16), (_FLOATING, 32))


def depth_bits(opened: Opened) -> int:
    """Bits a channel in the file; Pillow reduces color pictures to 8 without a word.

    Source: PNG 11.2.1 (IHDR); TIFF 6.0, BitsPerSample; AV1-ISOBMFF 2.3.3 (av1C).
    """
    image = opened.image
    if isinstance(image, PngImagePlugin.PngImageFile):
        return opened.header[24]
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(max(image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))))
    match own_name(image):
        case "AVIF":
            return _av1_depth_bits(opened.header)
        case "HEIC":
            return int(image.info.get("bit_depth", 8))
        case "JPEG XL":
            return _jxl_depth_bits(opened.header)
        case _:
            return 8


def depth_class(file_bits: int) -> int:
    """The depth of a picture (8, 10, 12 or 16) whose file has so many bits of an integer a channel."""
    return next((depth for depth in _PICTURE_DEPTHS_BITS if file_bits <= depth), 16)


def picture_depth_bits(opened: Opened) -> int:
    """Bits a channel of the picture that is made of a file: 8, 10, 12, 16, or 32 for floats."""
    if is_floating(opened):
        return FLOAT_BITS
    deep = opened.image.mode in WIDE_MODES or is_too_deep_for_pillow(opened)
    return depth_class(depth_bits(opened)) if deep else 8


def reduction_note(depth_bits: int, to_bits: int) -> str:
    """Say that a picture has lost depth."""
    return f"{depth_bits} bits a channel were reduced to {to_bits}"


def conversion_note(mode: str, has_profile: bool) -> str | None:
    """Say what becomes of colors that are neither gray nor RGB; None for those which are."""
    if mode == "LAB":
        return "Lab colors were converted to sRGB"
    if mode != "CMYK":
        return None
    if has_profile:
        return "CMYK was converted to sRGB through its color profile"
    return "CMYK without a usable color profile was converted by the plain formula"


def is_too_deep_for_pillow(opened: Opened) -> bool:
    """Whether Pillow would cut bits of a still or of a TIFF's page, and another decoder would not.

    It is left to Pillow to find the frames of animations, to read CMYK and Lab, and floats in one plane.
    """
    image = opened.image
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        samples = (_sample_format(image), depth_bits(opened))
        plain = image.tag_v2.get(_TIFF_PHOTOMETRIC) in _TIFF_GRAY_AND_RGB
        return plain and samples in _DEEP_SAMPLES and (image.mode, *samples) != ("F", _FLOATING, 32)
    if own_name(image) not in ("PNG", "AVIF", "HEIC"):
        return False
    if image.mode in WIDE_MODES and image.format != "HEIF":  # whose plug-in puts gray in the lower bits
        return False
    animated = image.format != "HEIF" and getattr(image, "n_frames", 1) > 1
    return depth_bits(opened) > 8 and not animated


def is_floating(opened: Opened) -> bool:
    """Whether the file holds floats."""
    image = opened.image
    return isinstance(image, TiffImagePlugin.TiffImageFile) and _sample_format(image) == _FLOATING


def _sample_format(image: TiffImagePlugin.TiffImageFile) -> int:
    """Source: TIFF 6.0, section 19 (SampleFormat)."""
    return int(max(image.tag_v2.get(_TIFF_SAMPLE_FORMAT, (_UNSIGNED,))))


def _av1_depth_bits(header: bytes) -> int:
    configuration = re.search(rb"av1C..(.)", header, re.DOTALL)
    flags = configuration[1][0] if configuration else 0
    if flags & 0x40:
        return 12 if flags & 0x20 else 10
    return 8


def _jxl_depth_bits(header: bytes) -> int:
    from esc_cli.media.jxl import announcement

    try:
        return announcement(io.BytesIO(header)).depth_bits or 8
    except ValueError:
        return 8  # something else fills the first 64 KiB


def orientation(image: Image.Image) -> int:
    """EXIF orientation that is still to be applied, 1 to 8.

    It is the same before and after the pixels are decoded. A picture with broken EXIF is taken as upright.
    """
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF itself, and its size
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # it comes upright, as its codestream says; EXIF counts in a repacked JPEG only
    try:
        _complete_exif(image)
        # Of the base class, since PNG's own decodes the whole picture to look for EXIF behind the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1
    return value if value in range(1, 9) else 1


def tiff_orientation(image: TiffImagePlugin.TiffImageFile) -> int:
    """The orientation in which a TIFF stores its pixels, for decoders which do not apply it."""
    value = image.tag_v2.get(_TIFF_ORIENTATION, 1)
    return value if value in range(1, 9) else 1


def turned(pixels: "npt.NDArray[Any]", orientation: int) -> "npt.NDArray[Any]":
    """Make pixels, (H, W, C), upright: a view of them.

    Source: Exif 2.32 (JEITA CP-3451E), table 4, tag 274; the same as Pillow's ImageOps.exif_transpose.
    """
    if orientation in _TURNS_WHICH_SWAP_SIDES:
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]


def upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """(height, width) in pixels once the orientation is applied."""
    width, height = image.size
    if orientation(image) in _TURNS_WHICH_SWAP_SIDES:
        return width, height
    return height, width


def _complete_exif(image: Image.Image) -> None:
    """Put EXIF which follows the pixels of a PNG where Pillow keeps EXIF, without decoding them."""
    if not isinstance(image, PngImagePlugin.PngImageFile) or "exif" in image.info or image.fp is None:
        return
    exif = exif_chunk(image.fp)
    if exif is not None:
        image.info["exif"] = b"Exif\0\0" + exif
