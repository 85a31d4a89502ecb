"""EXIF: keep what is still true for new pixels, and correct the rest.

A block is changed by new directories, and values stay where they are (``exif_blocks``). This matters for
maker notes, many of which refer to themselves by offsets.
"""

import re
import struct
from collections.abc import Mapping, Set
from types import MappingProxyType

from PIL.ExifTags import Base as Tag

from esc_cli.media.metadata.exif_blocks import Changes, changed, new_block, reader_of
from esc_cli.media.tiff_directories import (
    EXIF_DIRECTORY,
    RATIONAL,
    SHORT,
    Directory,
    Entry,
    Field,
    Layout,
    Order,
    TiffReader,
    Tree,
    fraction_field,
    number_field,
    text_field,
)

EXIF_MARK = b"Exif\0\0"
"""The beginning of an EXIF block, as it is in a JPEG segment. Source: Exif 2.32, 4.7.2."""

# Tags that describe how the pixels of the source were stored, which is wrong for any other file, and tags of
# metadata that is kept outside EXIF.
# Source: TIFF 6.0, appendix A (the tags' numbers); Exif 2.32, table 4; GeoTIFF 1.1, 7.1;
# Photoshop TIFF technical notes.
STORAGE_TAGS = frozenset(
    (
        *range(254, 267),  # subfile, size, bits, compression, photometric interpretation, order
        *(273, 274, 277, 278, 279, 280, 281, 284),  # strips, orientation, samples, planes
        *range(288, 294),  # free space, gray response, fax options
        *(297, 301, 317, 320, 321),  # page, transfer function, predictor, color map, halftones
        *range(322, 348),  # tiles, sub-pictures, inks, extra samples, sample format, JPEG tables
        *range(512, 533),  # old JPEG (the thumbnail), YCbCr
        *(33550, 33920, 33922, 34264, 34735, 34736, 34737, 50844),  # georeferencing
        *(700, 33723, 34377, 34675, 37724),  # XMP, IPTC, Photoshop's blocks, the profile, Photoshop's layers
    )
)
"""Tags of a TIFF's page that say nothing about the picture itself."""

# Tags of the relation of luma and chroma. EXIF requires them in JPEGs; they also fit the JPEGs written here.
_YCBCR_TAGS = frozenset((Tag.YCbCrCoefficients, Tag.YCbCrPositioning, Tag.ReferenceBlackWhite))

RESOLUTION_TAGS = frozenset((Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit))
"""Tags that every TIFF has; in other formats they are part of a camera's EXIF."""

# Source: TIFF 6.0, section 3 and ResolutionUnit.
_NO_UNIT, _INCH, _CENTIMETER = 1, 2, 3
_UNITS_AN_INCH = {_INCH: 1.0, _CENTIMETER: 2.54}

# Maker notes of these kinds refer to themselves by offsets from their own beginning, or not at all, and state
# their byte order. Others count from the beginning of EXIF, so they become invalid at another place.
# Source: ExifTool, MakerNotes.pm (Base of Apple, Nikon, FujiFilm, Olympus2, Olympus3, Pentax5; Google).
_MOVABLE_NOTES = re.compile(
    rb"Apple iOS\0|Nikon\0\x02|FUJIFILM|OLYMPUS\0|OM SYSTEM\0|PENTAX \0|HDRP[\x02\x03]"
)

_LITTLE_ENDIAN = Layout("<", big=False)


def exif_of_block(block: bytes) -> bytes | None:
    """Return EXIF without orientation, thumbnail and the tags that describe how pixels were stored.

    Args:
        block: EXIF block, with or without "Exif" at its beginning.

    Returns:
        A block that begins with "Exif"; None if no tags are left.

    Raises:
        ValueError: The block is damaged.
    """
    dropped = STORAGE_TAGS - _YCBCR_TAGS
    return _if_any(changed(_without_mark(block), dict.fromkeys(dropped), {}))


def exif_of_page(
    reader: TiffReader, page: Directory, changes: Changes = MappingProxyType({})
) -> bytes | None:
    """Gather EXIF from the tags of a TIFF's page.

    Args:
        reader: Reader of the TIFF.
        page: Directory of the page.
        changes: New values by tag; None removes the tag.

    Returns:
        A block that begins with "Exif"; None if the page has no tags for it. It has no maker note that
        would be invalid in it.
    """
    kept = reader.tree(page, without=STORAGE_TAGS | RESOLUTION_TAGS | changes.keys())
    kept |= {tag: field for tag, field in changes.items() if field is not None}
    return exif_of_tree(kept, reader.layout.order)


def exif_of_tree(tree: Tree, order: Order) -> bytes | None:
    """Make EXIF of tags and nested directories, without a maker note that would be invalid in it.

    Args:
        tree: Tags of the first directory.
        order: Byte order of the block.

    Returns:
        A block that begins with "Exif"; None if there are no tags.
    """
    return _if_any(new_block(_movable(tree), Layout(order, big=False)))


def tree_has_fixed_note(tree: Tree) -> bool:
    """Return whether ``exif_of_tree`` leaves out a maker note."""
    return _movable(tree).get(EXIF_DIRECTORY) is not tree.get(EXIF_DIRECTORY)


def page_has_fixed_note(reader: TiffReader, page: Directory) -> bool:
    """Return whether a TIFF's page has a maker note that is valid only at its place in the file."""
    inner = reader.nested(page, EXIF_DIRECTORY)
    note = None if inner is None else inner.entries.get(Tag.MakerNote)
    return note is not None and _is_fixed(reader.field(note))


def has_fixed_note(exif: bytes) -> bool:
    """Return whether an EXIF block has a maker note that is valid only at its place in the block."""
    reader = reader_of(_without_mark(exif))
    return page_has_fixed_note(reader, reader.directory(reader.first))


def exif_tree(exif: bytes, without: Set[int] = frozenset()) -> dict[int, Entry | Field | Tree]:
    """Return the tags of an EXIF block, with those of its nested directories.

    Args:
        exif: A block that begins with "Exif".
        without: Tags to skip in the first directory.

    Raises:
        ValueError: The block is damaged.
    """
    reader = reader_of(_without_mark(exif))
    return reader.tree(reader.directory(reader.first), without=without)


def movable_exif_tree(exif: bytes, without: Set[int] = frozenset()) -> dict[int, Entry | Field | Tree]:
    """Return the tags as ``exif_tree`` does, except a maker note that would be invalid at another place."""
    return _movable(exif_tree(exif, without))


def exif_dpi(exif: bytes) -> tuple[float, float] | None:
    """Return the resolution of an EXIF block in dots per inch, horizontal and vertical; None if it has none.

    Raises:
        ValueError: The block is damaged.
    """
    reader = reader_of(_without_mark(exif))
    return dpi_of_page(reader, reader.directory(reader.first))


def dpi_of_page(reader: TiffReader, page: Directory) -> tuple[float, float] | None:
    """Return the resolution of a directory in dots per inch, horizontal and vertical; None if it has none.

    Source: TIFF 6.0, ResolutionUnit: without it, the unit is the inch.
    """
    entries = page.entries
    if not {Tag.XResolution, Tag.YResolution} <= entries.keys():
        return None
    unit = reader.number_of(page, Tag.ResolutionUnit, _INCH)
    across, down = (_fraction(reader.field(entries[tag])) for tag in (Tag.XResolution, Tag.YResolution))
    factor = _UNITS_AN_INCH.get(unit)
    return (across * factor, down * factor) if factor and across and down else None


def fitted_exif(
    exif: bytes | None,
    height: int,
    width: int,
    *,
    dpi: tuple[float, float] | None = None,
    provenance: str | None = None,
) -> bytes | None:
    """Correct an EXIF block for a new picture.

    Source: Exif 2.32, 4.6.5 C: PixelXDimension and PixelYDimension.

    Args:
        exif: A block that begins with "Exif". If it is None, a block is made if there are tags to write.
        height: Height of the picture, in pixels. It is set only where the block states a size.
        width: Width of the picture, in pixels. It is set only where the block states a size.
        dpi: Resolution in dots per inch, horizontal and vertical, if it is to be written.
        provenance: The program, model and settings that made the picture.

    Returns:
        A block that begins with "Exif"; None if it would be empty.

    Raises:
        ValueError: The block is damaged.
    """
    first: dict[int, Field] = {}
    if dpi and (exif is None or exif_dpi(exif) != dpi):
        first |= resolution_fields(dpi)
    if provenance:
        first[Tag.ProcessingSoftware] = text_field(provenance)
    details: dict[int, Field] = {
        Tag.ExifImageWidth: number_field(width),
        Tag.ExifImageHeight: number_field(height),
    }
    block = _without_mark(exif) if exif else new_block({}, _LITTLE_ENDIAN)
    return _if_any(changed(block, first, details))


def resolution_fields(dpi: tuple[float, float] | None) -> dict[int, Field]:
    """Return the tags of a resolution in dots per inch, horizontal and vertical; None means unknown.

    Source: TIFF 6.0, section 3: every TIFF has these tags, and unit 1 means that they state no physical size.
    """
    across, down = dpi or (1.0, 1.0)
    return {
        Tag.XResolution: fraction_field(across),
        Tag.YResolution: fraction_field(down),
        Tag.ResolutionUnit: number_field(_INCH if dpi else _NO_UNIT, SHORT),
    }


# Maker notes


def _movable(tree: Tree) -> dict[int, Entry | Field | Tree]:
    """Return tags without a maker note that is valid only at its place."""
    details = tree.get(EXIF_DIRECTORY)
    note = details.get(Tag.MakerNote) if isinstance(details, Mapping) else None
    if not isinstance(details, Mapping) or not isinstance(note, Field) or not _is_fixed(note):
        return dict(tree)
    kept = {tag: value for tag, value in details.items() if tag != Tag.MakerNote}
    return {**tree, EXIF_DIRECTORY: kept}


def _is_fixed(note: Field) -> bool:
    return _MOVABLE_NOTES.match(note.data) is None


# The mark


def _if_any(block: bytes) -> bytes | None:
    """Return a block with "Exif" at its beginning; None if it has no tags."""
    reader = reader_of(block)
    return EXIF_MARK + block if reader.directory(reader.first).entries else None


def _without_mark(block: bytes) -> bytes:
    """Remove "Exif" from the beginning of a block; some programs write it twice."""
    return block.removeprefix(EXIF_MARK).removeprefix(EXIF_MARK)


def _fraction(field: Field) -> float | None:
    if field.type != RATIONAL:
        return None
    numerator, denominator = struct.unpack_from(field.order + "II", field.data)
    return numerator / denominator if denominator else None
