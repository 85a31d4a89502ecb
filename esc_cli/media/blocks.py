"""Blocks of metadata as they stand in a picture's file, wherever each format keeps them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from PIL import Image, PngImagePlugin, TiffImagePlugin

from esc_cli.media.exif import dpi_of_page, exif_of_page
from esc_cli.media.iptc import IPTC_RESOURCE, iptc_of_resources, iptc_of_stream
from esc_cli.media.pillow import PILLOW_ERRORS
from esc_cli.media.png import Chunk, exif_chunk, raw_profile, text_chunks
from esc_cli.media.tiff import Directory, TiffReader

XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
"""What XMP begins with in a JPEG's segment. Source: XMP specification part 3, 1.1.3."""

_EXIF_IN_JPEG = b"Exif\0\0"

# Source: TIFF 6.0, appendix A; XMP specification part 3, 1.1.6; ICC.1:2022, B.4.
TIFF_XMP, TIFF_IPTC, TIFF_PHOTOSHOP, TIFF_PROFILE = 700, 33723, 34377, 34675
"""Tags of whole blocks of metadata in a TIFF."""

# Source: JFIF 1.02, the units of the density; 0 stands for an aspect ratio.
_JFIF_UNITS = (1, 2)


@dataclass(frozen=True)
class Blocks:
    """What a file has of metadata, not looked into.

    Attributes:
        icc_profile: Of the colors as the file has them.
        exif: With or without "Exif" at its beginning, perhaps damaged.
        xmp: A packet.
        dpi: Dots an inch, across and down, if they stand anywhere but in EXIF.
        iptc: An IPTC-IIM stream, without padding.
        text: Chunks of a PNG.
        comment: Of a JPEG or a GIF.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    iptc: bytes | None = None
    text: tuple[Chunk, ...] | None = None
    comment: bytes | None = None


def blocks_of(image: Image.Image) -> Blocks:
    """Gather the blocks of a picture.

    Args:
        image: As it was opened, decoded or not; of a TIFF, the page it stands at.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        return _of_png(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        try:
            return _of_tiff(image)
        except PILLOW_ERRORS:
            pass  # what Pillow has kept of it may do
    return _of_any(image)


def _of_any(image: Image.Image) -> Blocks:
    """What Pillow and its plug-ins have found."""
    info, photoshop = image.info, image.info.get("photoshop")
    stream = photoshop.get(IPTC_RESOURCE) if isinstance(photoshop, dict) else None
    # Pillow takes 72 for the resolution of a JPEG that has none, if it has EXIF.
    told = image.format not in ("JPEG", "MPO") or info.get("jfif_unit") in _JFIF_UNITS
    return Blocks(
        icc_profile=_bytes(info.get("icc_profile")),
        exif=_bytes(info.get("exif")) or _kept_exif(image),
        xmp=_bytes(info.get("xmp")),
        dpi=info.get("dpi") if told else None,
        iptc=iptc_of_stream(stream) if isinstance(stream, bytes) else None,
        comment=_bytes(info.get("comment")),
    )


def _kept_exif(image: Image.Image) -> bytes | None:
    """EXIF that somebody gave to an image in memory, or that Pillow has of a TIFF which is closed."""
    try:
        tags = image.getexif()
        return tags.tobytes() if tags else None
    except PILLOW_ERRORS:
        return None


def _of_png(image: PngImagePlugin.PngImageFile) -> Blocks:
    """With what stands behind the pixels, and what ImageMagick and ExifTool keep as text."""
    info = image.info
    texts = {
        kind: raw_profile(info.get(f"Raw profile type {kind}")) for kind in ("exif", "xmp", "iptc", "APP1")
    }
    segment = texts["APP1"]  # a JPEG's
    file: IO[bytes] | None = getattr(image, "fp", None)  # a copied image has none
    exif = _bytes(info.get("exif")) or (exif_chunk(file) if file else None) or texts["exif"]
    xmp = _bytes(info.get("xmp")) or texts["xmp"]
    return Blocks(
        icc_profile=_bytes(info.get("icc_profile")),
        exif=exif or (segment if segment.startswith(_EXIF_IN_JPEG) else None),
        xmp=xmp or (segment.removeprefix(XMP_IN_JPEG) if segment.startswith(XMP_IN_JPEG) else None),
        dpi=info.get("dpi"),
        iptc=iptc_of_resources(texts["iptc"]),
        text=text_chunks(image) or None,
    )


def _of_tiff(image: TiffImagePlugin.TiffImageFile) -> Blocks:
    """Read from the file: Pillow keeps what an earlier page had, and only the first number of captions."""
    with _page(image) as (reader, page):
        read = {
            tag: reader.field(page.entries[tag]).data
            for tag in (TIFF_XMP, TIFF_IPTC, TIFF_PHOTOSHOP, TIFF_PROFILE)
            if tag in page.entries
        }
        captions = iptc_of_stream(read.get(TIFF_IPTC, b"")) or iptc_of_resources(
            read.get(TIFF_PHOTOSHOP, b"")
        )
        exif, dpi = exif_of_page(reader, page), dpi_of_page(reader, page)
    return Blocks(read.get(TIFF_PROFILE), exif, read.get(TIFF_XMP), dpi, captions)


@contextmanager
def _page(image: TiffImagePlugin.TiffImageFile) -> Iterator[tuple[TiffReader, Directory]]:
    """The directory of the page that an image stands at; the file is left where it was read."""
    file: IO[bytes] = image.fp or image.getexif().fp
    here = file.tell()
    try:
        reader = TiffReader(file)
        yield reader, reader.directory(image.tag_v2.offset)
    finally:
        file.seek(here)


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and value else None
