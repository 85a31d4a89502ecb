"""Handle the pixels without data in a GeoTIFF, whose value GDAL states in a tag."""

from collections.abc import Iterator, Mapping

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from esc_cli.media.tiff_directories import Field, text_field

# Source: GDAL, GTiff driver (GDAL_NODATA: a number as text).
_NO_DATA = 42113

MIXED_NOTE = "pixels without data (GDAL_NODATA) are enlarged like others and mixed with their neighbors"
LEFT_OUT_NOTE = "GDAL_NODATA was left out, since reading changes the values"


def no_data_of(image: Image.Image) -> float | None:
    """Return the value of pixels without data in the current page; None if the file states none."""
    stored = image.tag_v2.get(_NO_DATA) if isinstance(image, TiffImageFile) else None
    try:
        return float(stored.strip("\0 ")) if isinstance(stored, str) else None
    except ValueError:
        return None


def fitted_no_data(image: Image.Image, shift: int | None) -> Mapping[int, Field | None]:
    """Return the tag of pixels without data as it must be after reading.

    Args:
        image: The file, at the current page.
        shift: What reading adds to each value. None means that it changes values in other ways.

    Returns:
        The new value by tag, or None to remove the tag. Empty if there is no such tag or it stays.
    """
    value = no_data_of(image)
    if value is None or shift == 0:
        return {}
    return {_NO_DATA: None if shift is None else text_field(f"{value + shift:.17g}")}


def notes_on_no_data(image: Image.Image, shift: int | None, *, floating: bool) -> Iterator[str]:
    """Yield what happens to pixels without data, if a file has a value for them.

    Args:
        image: See ``fitted_no_data``.
        shift: See ``fitted_no_data``.
        floating: Whether the file stores floats. If so, these pixels are kept apart from others.
    """
    if no_data_of(image) is not None and not floating:
        yield LEFT_OUT_NOTE if shift is None else MIXED_NOTE
