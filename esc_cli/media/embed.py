"""Metadata put into files: by the encoder where it takes metadata, afterwards where it does not.

PNG and TIFF come from several encoders (Pillow, libvips, our own for animations), of which each would
write only a part, and Pillow no nested directories into a compressed TIFF. So finished ones are given it.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from esc_cli.errors import OutputError
from esc_cli.media.blocks import TIFF_IPTC, TIFF_PHOTOSHOP, TIFF_PROFILE, TIFF_XMP
from esc_cli.media.exif import RESOLUTION_TAGS, STORAGE_TAGS, exif_tree, resolution_fields
from esc_cli.media.formats import PictureFormat
from esc_cli.media.iptc import jpeg_segment, resource
from esc_cli.media.picture import Metadata
from esc_cli.media.png import (
    Chunk,
    comment_chunk,
    exif_block_chunk,
    icc_chunk,
    raw_profile_chunk,
    resolution_chunk,
    with_metadata_chunks,
    xmp_chunk,
)
from esc_cli.media.tiff import (
    BYTE,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    UNDEFINED,
    Directory,
    Entry,
    Field,
    TiffReader,
    Tree,
    directory_at,
)

_PHOTOMETRIC = 262
_METADATA_TAGS = RESOLUTION_TAGS | {
    TIFF_XMP,
    TIFF_IPTC,
    TIFF_PHOTOSHOP,
    TIFF_PROFILE,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
}

_PROFILE_SPACES = {0: b"GRAY", 1: b"GRAY", 2: b"RGB "}
"""The space of profiles that fit a TIFF's pixels, by PhotometricInterpretation. Source: ICC.1:2022, 7.2.6."""


def pillow_metadata(metadata: Metadata, format: PictureFormat) -> dict[str, Any]:
    """Give metadata as options for Pillow's encoders, or those of its plug-ins.

    Args:
        metadata: Fitted to the format and the picture.
        format: What is written; for PNG and TIFF there are none.
    """
    if format.name in ("PNG", "TIFF"):
        return {}
    held = {
        "icc_profile": metadata.icc_profile,
        "exif": metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi if "dpi" in format.holds else None,
        "extra": metadata.iptc and jpeg_segment(metadata.iptc),
        "comment": metadata.comment,
    }
    return {option: value for option, value in held.items() if value is not None}


def embed(encoded: bytes, metadata: Metadata, format: PictureFormat, later: Sequence[Metadata] = ()) -> bytes:
    """Put metadata into a finished PNG or TIFF, instead of what its encoder wrote; leave others as they are.

    Args:
        encoded: The file, still or of several pictures.
        metadata: Fitted to the format and to the first picture.
        format: What it is.
        later: The same of later pages of a TIFF. By default those have the color profile and the resolution
            of the first one.

    Raises:
        OutputError: A TIFF becomes too large by it.
    """
    if format.name == "PNG":
        return with_metadata_chunks(encoded, list(_chunks(metadata)))
    if format.name == "TIFF":
        return _tiff_with(encoded, metadata, later)
    return encoded


def _chunks(metadata: Metadata) -> Iterator[Chunk]:
    if metadata.icc_profile is not None:
        yield icc_chunk(metadata.icc_profile)
    if metadata.dpi is not None:
        yield resolution_chunk(metadata.dpi)
    if metadata.exif is not None:
        yield exif_block_chunk(metadata.exif)
    if metadata.iptc is not None:
        yield raw_profile_chunk("iptc", resource(metadata.iptc))
    if metadata.xmp is not None:
        yield xmp_chunk(metadata.xmp)
    yield from metadata.text or ()
    if metadata.comment is not None:
        yield comment_chunk(metadata.comment)


def _tiff_with(encoded: bytes, metadata: Metadata, later: Sequence[Metadata]) -> bytes:
    """A TIFF with new directories at its end, the last page's first, instead of the old ones."""
    reader = TiffReader(io.BytesIO(encoded))
    default = Metadata(icc_profile=metadata.icc_profile, dpi=metadata.dpi)
    behind, next = bytearray(len(encoded) % 2), 0
    try:
        for number, page in reversed(list(enumerate(reader.chain()))):
            own = (metadata, *later)[number] if number <= len(later) else default
            position = len(encoded) + len(behind)
            behind += directory_at(position, _page_with(page, reader, own), reader.layout, next)
            next = position
        header = reader.layout.header(next)
    except struct.error as error:
        raise OutputError("the picture and its metadata together are too large for a TIFF") from error
    return b"".join((header, memoryview(encoded)[reader.header_bytes :], behind))


def _page_with(page: Directory, reader: TiffReader, metadata: Metadata) -> Tree:
    """How a page is stored, which stays as it is, and its metadata."""
    tags: dict[int, Entry | Field | Tree] = {
        tag: entry for tag, entry in page.entries.items() if tag not in _METADATA_TAGS
    }
    if metadata.exif is not None:
        tags |= exif_tree(metadata.exif, without=STORAGE_TAGS)
    photometric = reader.number(page.entries[_PHOTOMETRIC])
    fitting = metadata.icc_profile if _fits(metadata.icc_profile, photometric) else None
    return tags | resolution_fields(metadata.dpi) | _blocks(replace(metadata, icc_profile=fitting))


def _blocks(metadata: Metadata) -> dict[int, Field]:
    """Metadata that TIFF holds as whole blocks."""
    blocks = {
        TIFF_XMP: (BYTE, metadata.xmp),
        TIFF_IPTC: (UNDEFINED, metadata.iptc),
        TIFF_PROFILE: (UNDEFINED, metadata.icc_profile),
    }
    return {tag: Field(type, data) for tag, (type, data) in blocks.items() if data is not None}


def _fits(profile: bytes | None, photometric: int) -> bool:
    return profile is not None and profile[16:20] == _PROFILE_SPACES.get(photometric)
