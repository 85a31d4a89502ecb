"""The picture formats: what each can hold, its names, and how its files begin."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from esc_cli.errors import InputError, OutputError, UsageError

Held = Literal["icc_profile", "exif", "xmp", "iptc", "dpi", "text", "comment"]
"""A part of a picture's metadata; the field's name in `Metadata`."""

Several = Literal["frames", "pages"]
"""What a file holds when it holds several pictures: timed ones, or pages."""


@dataclass(frozen=True)
class PictureFormat:
    """A format that pictures are written in.

    Attributes:
        name: What it is called, here and in messages; `pillow_name` gives Pillow's name of it.
        extensions: What its files end in, with the dot; the first one is given to results.
        alpha: Whether it holds transparency.
        largest_side_px: The largest height and width.
        lossy: Whether it has a lossy form, which takes a quality.
        holds: The metadata it holds.
        depths_bits: Bits a channel that it holds, rising; 32 stands for floats.
        several: What several pictures in it are; None if it holds one only.
        extra: The optional dependency of this package which it needs.
        largest_px: The largest number of pixels, None if only the sides are limited.
        quality: The quality (1 to 100) of its lossy form unless another is asked for.
    """

    name: str
    extensions: tuple[str, ...]
    alpha: bool
    largest_side_px: int
    lossy: bool
    holds: frozenset[Held]
    depths_bits: tuple[int, ...] = (8,)
    several: Several | None = None
    extra: str | None = None
    largest_px: int | None = None
    quality: int = 95


ALL_METADATA: frozenset[Held] = frozenset(get_args(Held))
_ICC_EXIF_XMP: frozenset[Held] = frozenset(("icc_profile", "exif", "xmp"))
_INT32_MAX = 2**31 - 1

# Sources of the limits. PNG: specification, 11.2.1 (31 bits). JPEG: libjpeg-turbo's JPEG_MAX_DIMENSION, which
# is below the 65535 of the standard, and which Pillow reports as a "broken data stream". WebP: RFC 9649, 2.5
# (14 bits). AVIF: the defaults of libavif's decoder, AVIF_DEFAULT_IMAGE_DIMENSION_LIMIT and
# AVIF_DEFAULT_IMAGE_SIZE_LIMIT; it encodes up to 65536 a side, but neither Pillow nor browsers read that.
# BMP: the file's size has 32 bits, and a pixel takes 3 bytes. TIFF: Pillow's own integers. GIF: 89a, 18 (16
# bits). HEIC: libheif's security limit, MAX_IMAGE_WIDTH and _HEIGHT; larger than any level of H.265, which
# ends at 16888 a side and 36 megapixels (table A.8), but its decoders do not mind. JPEG XL: level 5 of the
# Main profile (ISO 18181-1, annex M), which every decoder reads.
_WRITTEN = (
    PictureFormat(
        "PNG",
        (".png", ".apng"),
        True,
        _INT32_MAX,
        lossy=False,
        holds=ALL_METADATA,
        depths_bits=(8, 16),
        several="frames",
    ),
    PictureFormat(
        "JPEG",
        (".jpg", ".jpeg", ".jpe", ".jfif"),
        False,
        65_500,
        lossy=True,
        holds=ALL_METADATA - {"text"},
    ),
    PictureFormat("WEBP", (".webp",), True, 16_383, lossy=True, holds=_ICC_EXIF_XMP, several="frames"),
    PictureFormat(
        "BMP",
        (".bmp", ".dib"),
        False,  # Pillow writes alpha into a BMP, but few programs read it
        _INT32_MAX,
        lossy=False,
        holds=frozenset(("dpi",)),
        largest_px=2**32 // 3 - 2**20,
    ),
    PictureFormat(
        "TIFF",
        (".tif", ".tiff"),
        True,
        _INT32_MAX,
        lossy=False,
        holds=ALL_METADATA - {"text", "comment"},
        depths_bits=(8, 16, 32),
        several="pages",
    ),
    PictureFormat(
        "AVIF",
        (".avif",),
        True,
        32_768,
        lossy=True,
        holds=_ICC_EXIF_XMP,
        depths_bits=(8, 10, 12),
        several="frames",
        largest_px=16_384**2,
        quality=90,
    ),
    PictureFormat(
        "GIF", (".gif",), True, 65_535, lossy=False, holds=frozenset(("comment",)), several="frames"
    ),
    PictureFormat(
        "HEIC",
        (".heic", ".heif"),
        True,
        32_768,
        lossy=True,
        holds=_ICC_EXIF_XMP,
        depths_bits=(8, 10, 12),
        extra="heic",
        largest_px=32_768**2,
        quality=90,
    ),
    PictureFormat(
        "JPEG XL",
        (".jxl",),
        True,
        2**18,
        lossy=True,
        holds=frozenset(("exif", "xmp")),  # its plug-in writes no profile
        extra="jxl",
        largest_px=2**28,
        quality=90,
    ),
)

FORMATS: dict[str, PictureFormat] = {format.name: format for format in _WRITTEN}
"""The formats that are written, by name; some need an optional dependency, see `is_installed`."""

READ_FORMATS = tuple(FORMATS)
"""The names of the formats that are read."""

PICTURE_EXTENSIONS = frozenset(extension for format in _WRITTEN for extension in format.extensions)
"""What says that a file is meant to be a picture, whether this program reads it or not."""

# The module that an optional dependency of this package brings.
_MODULES = {"heic": "pillow_heif", "jxl": "pillow_jxl"}

# Source: PNG 5.2; JPEG T.81 B.1.1.3; WebP RFC 9649 2.4; BMP: BITMAPFILEHEADER, whose two reserved words are 0
# ("BM" alone opens many a text); TIFF 6.0 section 2 and BigTIFF; AVIF 1.1 and HEIF (ISO 23008-12) brands;
# GIF 89a 17; JPEG XL ISO 18181-2. "mif1" says only "HEIF family": then what it is compatible with decides, or
# AVIF is tried where that is not to be seen, and Pillow looks closer.
_BEGINNINGS = {
    "HEIC": rb"....ftyp(?:(?:mif1|msf1).{4}(?:.{4}){0,15}?)?(?:heic|heix|heim|heis|hevc|hevx)",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM....\0\0\0\0",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb"....ftyp(avif|avis|mif1|msf1)",
    "GIF": rb"GIF8[79]a",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
}


def sniff(beginning: bytes) -> str | None:
    """Name the format of a file by how it begins, whatever it is called.

    Args:
        beginning: The first bytes of the file. 16 tell whether it is a picture, and nearly always which; some
            HEIC take up to 80, and look like AVIF with fewer.

    Returns:
        The format's name; None for no picture.
    """
    for name, pattern in _BEGINNINGS.items():
        if re.match(pattern, beginning, re.DOTALL):
            return name
    return None


def format_by_extension(name_or_path: str | Path) -> PictureFormat | None:
    """Find the format that an extension stands for: "png", ".PNG" and "a/b.png" are the same.

    Returns:
        The format, or None where the extension is of none that is written.
    """
    extension = (Path(name_or_path).suffix or f".{str(name_or_path).lstrip('.')}").lower()
    return next((format for format in _WRITTEN if extension in format.extensions), None)


def format_named(text: str) -> PictureFormat:
    """Find the format that a person named: "jpg", ".jpg" or "JPEG".

    Raises:
        UsageError: There is no such format, or what writes it is not installed.
    """
    format = format_by_extension(text.lower())
    if format is None:
        raise UsageError(
            f"pictures cannot be written as '{text}'", hint=f"the formats are {_listed(_usable(), 'and')}"
        )
    check_installed(format.name, UsageError, f"pictures cannot be written as {format.name}")
    return format


def format_like(source_format: str) -> PictureFormat:
    """The format of a result where nobody named one: its source's own, and PNG for what cannot be written."""
    format = FORMATS.get(source_format, FORMATS["PNG"])
    return format if is_installed(format) else FORMATS["PNG"]


def is_installed(format: PictureFormat) -> bool:
    """Whether what reads and writes a format is there; it is not loaded to find out."""
    return format.extra is None or find_spec(_MODULES[format.extra]) is not None


def check_installed(name: str, error_class: type[InputError] | type[UsageError], message: str) -> None:
    """Refuse a format whose optional dependency is not there.

    Args:
        name: A key of `FORMATS`.
        error_class: Of the error.
        message: What cannot be done: the sentence's beginning.

    Raises:
        InputError, UsageError: It is not; the hint says how to install it.
    """
    format = FORMATS[name]
    if not is_installed(format):
        raise error_class(
            f"{message}: the package for it is not installed",
            hint=f'pip install "esc-upscale[{format.extra}]"',
        )


def stores_gray_as_rgb(format: PictureFormat, alpha: bool, depth_bits: int) -> bool:
    """Tell whether a gray picture is written as equal colors, as its encoder knows no other way."""
    return format.name == "WEBP" or (format.name == "AVIF" and (alpha or depth_bits > 8))


def check_fits(height: int, width: int, format: PictureFormat) -> None:
    """Tell before any work whether a format can hold a picture of this size in pixels.

    Raises:
        OutputError: It cannot; the hint names those which can.
    """
    if _fits(height, width, format):
        return
    limit = f"{format.largest_side_px} pixels a side"
    if format.largest_px is not None:
        limit += f" and {format.largest_px // 10**6} megapixels"
    others = [other for other in _usable() if _fits(height, width, other)]
    raise OutputError(
        f"{format.name} holds at most {limit}, and the result would have {width} x {height} (width x height)",
        hint=f"it can be written as {_listed(others, 'or')}" if others else None,
    )


def _fits(height: int, width: int, format: PictureFormat) -> bool:
    small_enough = format.largest_px is None or height * width <= format.largest_px
    return max(height, width) <= format.largest_side_px and small_enough


def _usable() -> list[PictureFormat]:
    return [format for format in _WRITTEN if is_installed(format)]


def _listed(formats: Iterable[PictureFormat], conjunction: str) -> str:
    *first, last = (format.extensions[0].removeprefix(".") for format in formats)
    return f"{', '.join(first)} {conjunction} {last}" if first else last
