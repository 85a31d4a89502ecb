"""EXIF: keep what is still true for new pixels, and correct the rest.

A block is changed by new directories after the old ones, so that values stay where they are. This matters for
maker notes, many of which refer to themselves by offsets.
"""

import io
import struct
from collections.abc import Iterable, Iterator, Mapping, Set
from itertools import islice

from esc_cli.media.tiff_directories import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROP_DIRECTORY,
    RATIONAL,
    SHORT,
    Directory,
    Entry,
    Field,
    Layout,
    TiffReader,
    Tree,
    directory_at,
    fraction_field,
    number_field,
    text_field,
)

_MARK = b"Exif\0\0"

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
_YCBCR_TAGS = frozenset((529, 531, 532))

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
RESOLUTION_TAGS = frozenset((X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT))
"""Tags that every TIFF has; in other formats they are part of a camera's EXIF."""

# Source: TIFF 6.0, section 3 and ResolutionUnit.
_NO_UNIT, _INCH, _CENTIMETER = 1, 2, 3
_UNITS_AN_INCH = {_INCH: 1.0, _CENTIMETER: 2.54}

# Source: Exif 2.32, tables 4 and 7; ExifTool's table of EXIF tags (ProcessingSoftware).
_PROCESSING_SOFTWARE = 0x000B
_WIDTH, _HEIGHT = 0xA002, 0xA003

# Source: TIFF 6.0, section 3 (StripOffsets, StripByteCounts); Exif 2.32, 4.6.4 (JPEGInterchangeFormat).
_SUB_IMAGES = ((513, 514), (273, 279))

_LITTLE_ENDIAN = Layout("<", big=False)

Changes = Mapping[int, Field | None]
"""New values by tag; None removes the tag."""


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
    return _if_any(_changed(_without_mark(block), dict.fromkeys(dropped), {}))


def exif_of_page(reader: TiffReader, page: Directory) -> bytes | None:
    """Gather EXIF from the tags of a TIFF's page.

    Args:
        reader: Reader of the TIFF.
        page: Directory of the page.

    Returns:
        A block that begins with "Exif"; None if the page has no tags for it.
    """
    kept = reader.tree(page, without=STORAGE_TAGS | RESOLUTION_TAGS)
    return _if_any(_new_block(kept, Layout(reader.layout.order, big=False)))


def exif_tree(exif: bytes, without: Set[int] = frozenset()) -> dict[int, Entry | Field | Tree]:
    """Return the tags of an EXIF block, with those of its nested directories.

    Args:
        exif: A block that begins with "Exif".
        without: Tags to skip in the first directory.

    Raises:
        ValueError: The block is damaged.
    """
    reader = _reader(_without_mark(exif))
    return reader.tree(reader.directory(reader.first), without=without)


def exif_dpi(exif: bytes) -> tuple[float, float] | None:
    """Return the resolution of an EXIF block in dots per inch, horizontal and vertical; None if it has none.

    Raises:
        ValueError: The block is damaged.
    """
    reader = _reader(_without_mark(exif))
    return dpi_of_page(reader, reader.directory(reader.first))


def dpi_of_page(reader: TiffReader, page: Directory) -> tuple[float, float] | None:
    """Return the resolution of a directory in dots per inch, horizontal and vertical; None if it has none.

    Source: TIFF 6.0, ResolutionUnit: without it, the unit is the inch.
    """
    entries = page.entries
    if not {X_RESOLUTION, Y_RESOLUTION} <= entries.keys():
        return None
    unit = reader.number(entries[RESOLUTION_UNIT]) if RESOLUTION_UNIT in entries else _INCH
    across, down = (_fraction(reader.field(entries[tag])) for tag in (X_RESOLUTION, Y_RESOLUTION))
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
        first[_PROCESSING_SOFTWARE] = text_field(provenance)
    details = {_WIDTH: number_field(width), _HEIGHT: number_field(height)}
    block = _without_mark(exif) if exif else _new_block({}, _LITTLE_ENDIAN)
    return _if_any(_changed(block, first, details))


def resolution_fields(dpi: tuple[float, float] | None) -> dict[int, Field]:
    """Return the tags of a resolution in dots per inch, horizontal and vertical; None means unknown.

    Source: TIFF 6.0, section 3: every TIFF has these tags, and unit 1 means that they state no physical size.
    """
    across, down = dpi or (1.0, 1.0)
    return {
        X_RESOLUTION: fraction_field(across),
        Y_RESOLUTION: fraction_field(down),
        RESOLUTION_UNIT: number_field(_INCH if dpi else _NO_UNIT, SHORT),
    }


# Blocks without "Exif"


def _changed(block: bytes, first: Changes, details: Changes) -> bytes:
    """Change values in the first directory, and existing values in the EXIF directory.

    Args:
        block: EXIF block without "Exif".
        first: New values of the first directory by tag; None removes the tag.
        details: New values of the EXIF directory by tag. Tags that the directory does not have are ignored.
    """
    reader = _reader(block)
    old = reader.directory(reader.first)
    inner = reader.nested(old, EXIF_DIRECTORY)
    kept = _without_outdated(block, reader, (old, first), *([(inner, details)] if inner else []))
    entries = _with_changes(old.entries, first)
    if inner is not None:
        there = {tag: value for tag, value in details.items() if tag in inner.entries}
        entries[EXIF_DIRECTORY] = _with_changes(inner.entries, there)
    position = len(kept) + len(kept) % 2
    body = kept[reader.header_bytes :].ljust(position - reader.header_bytes, b"\0")
    return reader.layout.header(position) + body + directory_at(position, entries, reader.layout)


def _with_changes(entries: Mapping[int, Entry], changes: Changes) -> dict[int, Entry | Field | Tree]:
    """Return new values, and the old values that stay, except for the EXIF directory, which moves."""
    kept = {tag: entry for tag, entry in entries.items() if tag not in changes and tag != EXIF_DIRECTORY}
    return {**kept, **{tag: value for tag, value in changes.items() if value is not None}}


def _without_outdated(block: bytes, reader: TiffReader, *replaced: tuple[Directory, Changes]) -> bytes:
    """Return a block without thumbnails and without replaced values, as far as nothing has to move.

    Thumbnails and directories are overwritten with zeros; outdated data at the end is cut off.
    """
    others = list(_sub_images(reader))
    cleared = [(directory.start, directory.end) for directory in (*others, *(old for old, _ in replaced))]
    cleared += [place for directory in others for place in _pixels(reader, directory)]
    outdated = [reader.extent(entry) for directory in others for entry in directory.entries.values()]
    outdated += [
        reader.extent(old.entries[tag]) for old, new in replaced for tag in new if tag in old.entries
    ]
    blank = bytearray(block)
    for start, end in cleared:
        blank[start:end] = bytes(len(blank[start:end]))
    in_use = max(end for _start, end in _places_in_use(reader, replaced))
    return bytes(blank[: max(in_use, _beginning_of_rest(len(block), [*cleared, *outdated]))])


def _beginning_of_rest(end: int, outdated: Iterable[tuple[int, int]]) -> int:
    """Return where the outdated data at the end of a block begins.

    Between outdated places there may be a byte of padding.
    """
    for start, stop in sorted(outdated, key=lambda place: place[1], reverse=True):
        if start < end <= stop + 1:
            end = start
    return end


def _places_in_use(
    reader: TiffReader, replaced: Iterable[tuple[Directory, Changes]]
) -> Iterator[tuple[int, int]]:
    yield 0, reader.header_bytes
    for old, new in replaced:
        yield from (reader.extent(entry) for tag, entry in old.entries.items() if tag not in new)
        for tag in (GPS_DIRECTORY, INTEROP_DIRECTORY):
            if (inner := reader.nested(old, tag)) is not None:
                yield inner.start, inner.end
                yield from (reader.extent(entry) for entry in inner.entries.values())


def _sub_images(reader: TiffReader) -> Iterator[Directory]:
    """Yield the directories after the first one, as far as they are valid."""
    try:
        yield from islice(reader.chain(), 1, None)
    except ValueError:
        return


def _pixels(reader: TiffReader, directory: Directory) -> Iterator[tuple[int, int]]:
    """Yield where the pixels of a thumbnail lie: as a JPEG, or in one strip."""
    for place, size in _SUB_IMAGES:
        if {place, size} <= directory.entries.keys():
            start = reader.number(directory.entries[place])
            yield start, start + reader.number(directory.entries[size])


def _new_block(tree: Tree, layout: Layout) -> bytes:
    header = layout.header(len(layout.header(0)))
    return header + directory_at(len(header), tree, layout)


def _if_any(block: bytes) -> bytes | None:
    """Return a block with "Exif" at its beginning; None if it has no tags."""
    reader = _reader(block)
    return _MARK + block if reader.directory(reader.first).entries else None


def _reader(block: bytes) -> TiffReader:
    return TiffReader(io.BytesIO(block))


def _without_mark(block: bytes) -> bytes:
    """Remove "Exif" from the beginning of a block; some programs write it twice."""
    return block.removeprefix(_MARK).removeprefix(_MARK)


def _fraction(field: Field) -> float | None:
    if field.type != RATIONAL:
        return None
    numerator, denominator = struct.unpack_from(field.order + "II", field.data)
    return numerator / denominator if denominator else None
