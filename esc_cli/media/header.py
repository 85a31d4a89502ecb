"""Properties of a picture's header that Pillow does not report: bits per channel, and orientation."""

from PIL import Image, ImageFile

from esc_cli.media.formats.base import exif_orientation
from esc_cli.media.formats.registry import format_of
from esc_cli.media.pillow import WIDE_MODES, Opened
from esc_cli.media.pixels.bits import FLOAT_BITS, depth_class
from esc_cli.media.pixels.orientation import TURNS_WHICH_SWAP_SIDES


def picture_depth_bits(opened: Opened) -> int:
    """Return the bits per channel of a picture made from a file: 8, 10, 12, 16, or 32 for floats."""
    if opened.format.is_floating(opened):
        return FLOAT_BITS
    deep = opened.image.mode in WIDE_MODES or opened.format.is_too_deep_for_pillow(opened)
    return depth_class(opened.format.depth_bits(opened)) if deep else 8


def conversion_note(mode: str, has_profile: bool) -> str | None:
    """Return the note on a color conversion; None for gray and RGB, which are not converted."""
    if mode == "LAB":
        return "Lab colors were converted to sRGB"
    if mode != "CMYK":
        return None
    if has_profile:
        return "CMYK was converted to sRGB through its color profile"
    return "CMYK without a usable color profile was converted with a simple formula"


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that is still to be applied to an image, 1 to 8."""
    format = format_of(image)
    return exif_orientation(image) if format is None else format.orientation(image)


def upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """Return (height, width) in pixels, after the orientation is applied."""
    width, height = image.size
    if orientation(image) in TURNS_WHICH_SWAP_SIDES:
        return width, height
    return height, width
