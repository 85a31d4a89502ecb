"""What a picture's header says beyond what Pillow tells: bits a channel, and which way is up."""

import re

from PIL import ExifTags, Image, ImageFile, PngImagePlugin, TiffImagePlugin

from esc_cli.media.pillow import PILLOW_ERRORS, Opened
from esc_cli.media.png import exif_chunk

# Source: Exif 2.32 (JEITA CP-3451E), table 4, tag 274; the same as Pillow's ImageOps.exif_transpose.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture of each EXIF orientation upright; 1 is upright already."""

_TURNS_WHICH_SWAP_SIDES = (5, 6, 7, 8)
_TIFF_BITS_PER_SAMPLE = 258


def depth_bits(opened: Opened) -> int:
    """Bits a channel in the file; Pillow reduces color pictures to 8 without a word.

    Source: PNG 11.2.1 (IHDR); TIFF 6.0, BitsPerSample; AV1-ISOBMFF 2.3.3 (av1C).
    """
    if isinstance(opened.image, PngImagePlugin.PngImageFile):
        return opened.header[24]
    if isinstance(opened.image, TiffImagePlugin.TiffImageFile):
        return int(max(opened.image.tag_v2.get(_TIFF_BITS_PER_SAMPLE, (1,))))
    if opened.image.format == "AVIF":
        return _av1_depth_bits(opened.header)
    return 8


def depth_bits_of_mode(mode: str) -> int:
    """Bits a channel that a Pillow mode holds."""
    if mode in ("I", "F"):
        return 32
    return 16 if mode.startswith("I;16") else 8


def _av1_depth_bits(header: bytes) -> int:
    configuration = re.search(rb"av1C..(.)", header, re.DOTALL)
    flags = configuration[1][0] if configuration else 0
    if flags & 0x40:
        return 12 if flags & 0x20 else 10
    return 8


def orientation(image: Image.Image) -> int:
    """EXIF orientation that is still to be applied, 1 to 8.

    It is the same before and after the pixels are decoded. A picture with broken EXIF is taken as upright.
    """
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF itself, and its size
    try:
        _complete_exif(image)
        # Of the base class, since PNG's own decodes the whole picture to look for EXIF behind the pixels.
        value = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except PILLOW_ERRORS:
        return 1
    return value if value in TURNS else 1


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
