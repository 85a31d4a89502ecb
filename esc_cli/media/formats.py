"""The picture formats: what each can hold, its names, and how its files begin."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from esc_cli.errors import OutputError, UsageError

Held = Literal["icc_profile", "exif", "xmp", "iptc", "dpi"]
"""A part of a picture's metadata; the field's name in `Metadata`."""

Several = Literal["frames", "pages"]
"""What a file holds when it holds several pictures: timed ones, or pages."""


@dataclass(frozen=True)
class PictureFormat:
    """A format that pictures are written in.

    Attributes:
        name: Pillow's name of it.
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


ALL_METADATA: frozenset[Held] = frozenset(("icc_profile", "exif", "xmp", "iptc", "dpi"))
_ICC_EXIF_XMP = ALL_METADATA - {"iptc", "dpi"}
_INT32_MAX = 2**31 - 1

# Sources of the limits. PNG: specification, 11.2.1 (31 bits). JPEG: libjpeg-turbo's JPEG_MAX_DIMENSION, which
# is below the 65535 of the standard, and which Pillow reports as a "broken data stream". WebP: RFC 9649, 2.5
# (14 bits). AVIF: the defaults of libavif's decoder, AVIF_DEFAULT_IMAGE_DIMENSION_LIMIT and
# AVIF_DEFAULT_IMAGE_SIZE_LIMIT; it encodes up to 65536 a side, but neither Pillow nor browsers read that.
# BMP: the file's size has 32 bits, and a pixel takes 3 bytes. TIFF: Pillow's own integers.
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
    PictureFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), False, 65_500, lossy=True, holds=ALL_METADATA),
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
        holds=ALL_METADATA,
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
)

FORMATS: dict[str, PictureFormat] = {format.name: format for format in _WRITTEN}
"""The formats that are written, by name; those and GIF are read."""

READ_FORMATS = (*FORMATS, "GIF")
"""The names of the formats that are read."""

PICTURE_EXTENSIONS = frozenset(
    (*(extension for format in _WRITTEN for extension in format.extensions), ".gif", ".heic", ".heif", ".jxl")
)
"""What says that a file is meant to be a picture, whether this program reads it or not."""

# Source: PNG 5.2; JPEG T.81 B.1.1.3; WebP RFC 9649 2.4; BMP: BITMAPFILEHEADER, whose two reserved words are 0
# ("BM" alone opens many a text); TIFF 6.0 section 2 and BigTIFF; AVIF 1.1 and HEIF (ISO 23008-12) brands;
# GIF 89a 17; JPEG XL ISO 18181-2. "mif1" alone says only "HEIF family": AVIF is tried, Pillow looks closer.
_BEGINNINGS = {
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "JPEG": rb"\xff\xd8\xff",
    "WEBP": rb"RIFF....WEBP",
    "BMP": rb"BM....\0\0\0\0",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "AVIF": rb"....ftyp(avif|avis|mif1|msf1)",
    "GIF": rb"GIF8[79]a",
    "HEIC": rb"....ftyp(heic|heix|heim|heis|hevc|hevx)",
    "JPEG XL": rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n",
}


def sniff(beginning: bytes) -> str | None:
    """Name the format of a file by how it begins, whatever it is called.

    Args:
        beginning: The first bytes of the file; 16 are enough.

    Returns:
        The format's name, which may be one that is not read ("HEIC", "JPEG XL"); None for no picture.
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
        UsageError: There is no such format.
    """
    format = format_by_extension(text.lower())
    if format is None:
        raise UsageError(
            f"pictures cannot be written as '{text}'", hint=f"the formats are {_listed(_WRITTEN, 'and')}"
        )
    return format


def format_like(source_format: str) -> PictureFormat:
    """The format of a result where nobody named one: its source's own, and PNG for what is only read."""
    return FORMATS.get(source_format, FORMATS["PNG"])


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
    others = [other for other in _WRITTEN if _fits(height, width, other)]
    raise OutputError(
        f"{format.name} holds at most {limit}, and the result would have {width} x {height} (width x height)",
        hint=f"it can be written as {_listed(others, 'or')}" if others else None,
    )


def what_is_lost(alpha: bool, format: PictureFormat) -> tuple[str, ...]:
    """Say what a format cannot hold of a picture's pixels.

    Args:
        alpha: Whether the picture has an alpha channel.
        format: What it is to be written as.

    Returns:
        One sentence for each loss, without a full stop.
    """
    if alpha and not format.alpha:
        return (f"{format.name} cannot hold transparency: the picture is laid on white",)
    return ()


def _fits(height: int, width: int, format: PictureFormat) -> bool:
    small_enough = format.largest_px is None or height * width <= format.largest_px
    return max(height, width) <= format.largest_side_px and small_enough


def _listed(formats: Iterable[PictureFormat], conjunction: str) -> str:
    *first, last = (format.extensions[0].removeprefix(".") for format in formats)
    return f"{', '.join(first)} {conjunction} {last}" if first else last
