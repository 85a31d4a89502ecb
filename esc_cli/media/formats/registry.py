"""The picture formats by name, by extension and by how their files begin."""

import re
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from esc_cli.errors import InputError, OutputError, UsageError, did_you_mean
from esc_cli.media.formats.avif import Avif
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.bmp import Bmp
from esc_cli.media.formats.gif import Gif
from esc_cli.media.formats.heic import Heic
from esc_cli.media.formats.jpeg import Jpeg
from esc_cli.media.formats.jpeg_xl import JpegXl
from esc_cli.media.formats.png import Png
from esc_cli.media.formats.tiff import Tiff
from esc_cli.media.formats.webp import WebP

_FORMATS: tuple[PictureFormat, ...] = (
    Png(),
    Jpeg(),
    WebP(),
    Bmp(),
    Tiff(),
    Avif(),
    Gif(),
    Heic(),
    JpegXl(),
)

FORMATS: dict[str, PictureFormat] = {format.name: format for format in _FORMATS}
"""The formats that are read and written, by name; some need an optional dependency."""

DEFAULT = FORMATS["PNG"]
"""Of results whose source's format cannot be written; it holds all that pictures have but floats."""

PICTURE_EXTENSIONS = frozenset(extension for format in _FORMATS for extension in format.extensions)
"""What says that a file is meant to be a picture, whether this program reads it or not."""

_BY_PILLOW_NAME = {format.pillow_name: format for format in _FORMATS}
_BY_PILLOW_NAME["MPO"] = FORMATS["JPEG"]  # several JPEGs in one, which is a JPEG to anybody else


def sniff(beginning: bytes) -> PictureFormat | None:
    """Find the format of a file by how it begins, whatever it is called.

    Args:
        beginning: The first bytes of the file. 16 tell whether it is a picture, and nearly always which; some
            HEIC take up to 80, and look like AVIF with fewer.

    Returns:
        The format; None for no picture.
    """
    matching = (format for format in _FORMATS if re.match(format.signature, beginning, re.DOTALL))
    return next(matching, None)


def format_of(image: Image.Image) -> PictureFormat | None:
    """Find the format of the file that an image comes from; None where it comes from none that is read."""
    return _BY_PILLOW_NAME.get(str(image.format))


def format_by_extension(name_or_path: str | Path) -> PictureFormat | None:
    """Find the format that an extension stands for: "png", ".PNG" and "a/b.png" are the same.

    Returns:
        The format, or None where the extension is of none that is written.
    """
    extension = (Path(name_or_path).suffix or f".{str(name_or_path).lstrip('.')}").lower()
    return next((format for format in _FORMATS if extension in format.extensions), None)


def format_named(text: str) -> PictureFormat:
    """Find the format that a person named: "jpg", ".jpg" or "JPEG".

    Raises:
        UsageError: There is no such format, or what writes it is not installed.
    """
    format = format_by_extension(text.lower())
    if format is None:
        names = [extension[1:] for one in _usable() for extension in one.extensions]
        hint = did_you_mean(text.lower(), names) or f"the formats are {_listed(_usable(), 'and')}"
        raise UsageError(f"pictures cannot be written as {text!r}", hint=hint)
    check_installed(format, UsageError, f"pictures cannot be written as {format.name}")
    return format


def format_like(source_format: str) -> PictureFormat:
    """The format of a result where nobody named one: its source's own, and PNG for what cannot be written."""
    format = FORMATS.get(source_format, DEFAULT)
    return format if format.is_installed() else DEFAULT


def check_installed(
    format: PictureFormat, error_class: type[InputError] | type[UsageError], message: str
) -> None:
    """Refuse a format whose optional dependency is not there.

    Args:
        format: Any.
        error_class: Of the error.
        message: What cannot be done: the sentence's beginning.

    Raises:
        InputError, UsageError: It is not; the hint says how to install it.
    """
    if not format.is_installed():
        raise error_class(
            f"{message}: the package for it is not installed",
            hint=f'pip install "esc-upscale[{format.extra}]"',
        )


def check_fits(height: int, width: int, format: PictureFormat) -> None:
    """Tell before any work whether a format can hold a picture of this size in pixels.

    Raises:
        OutputError: It cannot; the hint names those which can.
    """
    if format.fits(height, width):
        return
    limit = f"{format.largest_side_px} pixels a side"
    if format.largest_px is not None:
        limit += f" and {format.largest_px // 10**6} megapixels"
    others = [other for other in _usable() if other.fits(height, width)]
    raise OutputError(
        f"{format.name} holds at most {limit}, and the result would have {width} x {height} (width x height)",
        hint=f"it can be written as {_listed(others, 'or')}" if others else None,
    )


def _usable() -> list[PictureFormat]:
    return [format for format in _FORMATS if format.is_installed()]


def _listed(formats: Iterable[PictureFormat], conjunction: str) -> str:
    *first, last = (format.extensions[0].removeprefix(".") for format in formats)
    return f"{', '.join(first)} {conjunction} {last}" if first else last
