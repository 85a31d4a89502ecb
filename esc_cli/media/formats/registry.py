"""Lookup of picture formats by name, by extension and by the first bytes of a file."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from PIL import Image

from esc_cli.errors import InputError, OutputError, UsageError, did_you_mean
from esc_cli.media.formats.avif import Avif
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.bmp import Bmp
from esc_cli.media.formats.gif import Gif
from esc_cli.media.formats.heic import Heic
from esc_cli.media.formats.jpeg import Jpeg
from esc_cli.media.formats.jpeg_xl import JpegXl
from esc_cli.media.formats.openexr import OpenExr
from esc_cli.media.formats.png import Png
from esc_cli.media.formats.radiance import Radiance
from esc_cli.media.formats.raw import CameraRaw
from esc_cli.media.formats.tiff import Tiff
from esc_cli.media.formats.webp import WebP
from esc_cli.version import install_hint

_FORMATS: tuple[PictureFormat, ...] = (
    Png(),
    Jpeg(),
    WebP(),
    Bmp(),
    CameraRaw(),  # before TIFF, which most of these files are
    Tiff(),
    Avif(),
    Gif(),
    Heic(),
    JpegXl(),
    Radiance(),
    OpenExr(),
)

FORMATS: dict[str, PictureFormat] = {format.name: format for format in _FORMATS}
"""The formats that the program reads, and mostly writes, by name; some need an optional dependency."""

WRITTEN: tuple[PictureFormat, ...] = tuple(format for format in _FORMATS if format.written_as is None)
"""The formats that the program writes."""

DEFAULT_FORMAT = FORMATS["PNG"]
"""The fallback for sources whose format cannot be written; PNG supports everything except floats."""

PICTURE_EXTENSIONS = frozenset(extension for format in _FORMATS for extension in format.extensions)
"""Extensions that mark a file as a picture, even if the program cannot read it."""

_BY_PILLOW_NAME = {format.pillow_name: format for format in _FORMATS}
_BY_PILLOW_NAME["MPO"] = FORMATS["JPEG"]  # a file with several JPEGs, which other programs treat as a JPEG


def sniff(beginning: bytes) -> PictureFormat | None:
    """Return the format of a file by its first bytes, whatever its name is.

    Args:
        beginning: The first bytes of the file. 16 bytes are enough to recognize a picture, and nearly always
            to recognize its format. Some HEIC files need up to 80 bytes and look like AVIF with fewer.

    Returns:
        The format; None if the file is not a picture.
    """
    matching = (format for format in _FORMATS if re.match(format.signature, beginning, re.DOTALL))
    return next(matching, None)


def detect(file: IO[bytes], header: bytes) -> PictureFormat | None:
    """Return the format of a file, of which more than the first bytes may be read; None if there is none.

    Args:
        file: The file. Its position does not change.
        header: Its first bytes, at least 80 if it has so many.
    """
    return next((format for format in _FORMATS if format.is_format_of(file, header)), None)


def format_of(image: Image.Image) -> PictureFormat | None:
    """Return the format of the file that an image comes from; None if there is no supported one."""
    return _BY_PILLOW_NAME.get(str(image.format))


def format_by_extension(name_or_path: str | Path) -> PictureFormat | None:
    """Return the format of an extension; "png", ".PNG" and "a/b.png" give the same format.

    Returns:
        The format; None if no supported format has the extension.
    """
    extension = (Path(name_or_path).suffix or f".{str(name_or_path).lstrip('.')}").lower()
    return next((format for format in _FORMATS if extension in format.extensions), None)


def format_named(text: str) -> PictureFormat:
    """Return the format that a user named, such as "jpg", ".jpg" or "JPEG".

    Raises:
        UsageError: There is no such format, or its optional dependency is not installed.
    """
    format = format_by_extension(text.lower())
    if format is None:
        names = [extension[1:] for one in _usable() for extension in one.extensions]
        hint = did_you_mean(text.lower(), names) or f"choose one of the formats {_listed(_usable(), 'and')}"
        raise UsageError(f"pictures cannot be written as {text!r}", hint=hint)
    check_written(format)
    check_installed(format, UsageError, f"pictures cannot be written as {format.name}")
    return format


def format_like(source_format: str) -> PictureFormat:
    """Return the default format of a result: its source's format, or another if that cannot be written."""
    format = FORMATS.get(source_format, DEFAULT_FORMAT)
    if format.written_as is not None:
        return FORMATS[format.written_as]
    return format if format.is_installed() else DEFAULT_FORMAT


def check_written(format: PictureFormat) -> None:
    """Refuse a format that is only read.

    Raises:
        UsageError: The format is not written.
    """
    if format.written_as is not None:
        hint = f"choose one of the formats {_listed(_usable(), 'and')}"
        raise UsageError(f"pictures cannot be written as {format.name}, which is only read", hint=hint)


def check_installed(
    format: PictureFormat, error_class: type[InputError] | type[UsageError], message: str
) -> None:
    """Refuse a format whose optional dependency is not installed.

    Args:
        format: The format to check.
        error_class: Class of the error to raise.
        message: Beginning of the error message, which says what cannot be done.

    Raises:
        InputError, UsageError: The dependency is not installed; the hint says how to install it.
    """
    if not format.is_installed():
        raise error_class(
            f"{message}: the required package is not installed",
            hint=install_hint(str(format.extra)),
        )


def check_fits(height: int, width: int, format: PictureFormat) -> None:
    """Check before any work that a format supports a picture of this size, in pixels.

    Raises:
        OutputError: The picture is too large; the hint names formats that support it.
    """
    if format.fits(height, width):
        return
    limit = f"{format.largest_side_px} pixels per side"
    if format.largest_px is not None:
        limit += f" and {format.largest_px // 10**6} megapixels"
    others = [other for other in _usable() if other.fits(height, width) and not other.scene_linear]
    raise OutputError(
        f"{format.name} supports at most {limit}; the result would be {width} x {height} (width x height)",
        hint=f"write it as {_listed(others, 'or')}" if others else None,
    )


def _usable() -> list[PictureFormat]:
    return [format for format in WRITTEN if format.is_installed()]


def _listed(formats: Iterable[PictureFormat], conjunction: str) -> str:
    *first, last = (format.extensions[0].removeprefix(".") for format in formats)
    return f"{', '.join(first)} {conjunction} {last}" if first else last
