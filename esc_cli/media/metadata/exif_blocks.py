"""Change values of an EXIF block without "Exif" at its beginning, while all others stay where they are."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from PIL.ExifTags import Base as Tag

from esc_cli.media.tiff_directories import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROP_DIRECTORY,
    Directory,
    Entry,
    Field,
    Layout,
    TiffReader,
    Tree,
    directory_at,
    pointer,
)

# Source: TIFF 6.0, section 3 (StripOffsets, StripByteCounts); Exif 2.32, 4.6.4 (JPEGInterchangeFormat).
_SUB_IMAGES = ((Tag.JpegIFOffset, Tag.JpegIFByteCount), (Tag.StripOffsets, Tag.StripByteCounts))

Changes = Mapping[int, Field | None]
"""New values by tag; None removes the tag."""


def reader_of(block: bytes) -> TiffReader:
    """Return a reader of a block.

    Raises:
        ValueError: The block has no TIFF header.
    """
    return TiffReader(io.BytesIO(block))


def changed(block: bytes, first: Changes, details: Changes) -> bytes:
    """Change values in the first directory, and existing values in the EXIF directory.

    Args:
        block: EXIF block without "Exif".
        first: New values of the first directory by tag; None removes the tag.
        details: New values of the EXIF directory by tag. Tags that the directory does not have are ignored.

    Raises:
        ValueError: The block is damaged.
    """
    reader = reader_of(block)
    old = reader.directory(reader.first)
    inner = reader.nested(old, EXIF_DIRECTORY)
    room = _Room(block, reader, [(old, first), *([(inner, details)] if inner else [])])
    entries = _with_changes(old.entries, first)
    if inner is not None:
        there = {tag: value for tag, value in details.items() if tag in inner.entries}
        entries[EXIF_DIRECTORY] = pointer(room.put(_with_changes(inner.entries, there)), reader.layout)
    return room.block(room.put(entries))


def _with_changes(entries: Mapping[int, Entry], changes: Changes) -> dict[int, Entry | Field | Tree]:
    """Return new values, and the old values that stay, except for the EXIF directory, which moves."""
    kept = {tag: entry for tag, entry in entries.items() if tag not in changes and tag != EXIF_DIRECTORY}
    return {**kept, **{tag: value for tag, value in changes.items() if value is not None}}


class _Room:
    """A block without thumbnails and replaced values, to which directories are added; nothing else moves.

    What is outdated is overwritten with zeros, and zeros at the end are cut off. A new directory goes into
    the smallest room that became free and is large enough, otherwise to the end. So a block that fills its
    JPEG segment still fits in one.
    """

    def __init__(
        self, block: bytes, reader: TiffReader, replaced: Sequence[tuple[Directory, Changes]]
    ) -> None:
        self._layout = reader.layout
        self._header_bytes = reader.header_bytes
        self._block = bytearray(block)
        in_use = list(_places_in_use(reader, replaced))
        places = _without_places(len(block), _outdated_places(reader, replaced), in_use)
        for start, end in places:
            self._block[start:end] = bytes(end - start)
        end = max(*(end for _start, end in in_use), len(self._block.rstrip(b"\0")))
        del self._block[end:]
        self._free = [(start, min(stop, end)) for start, stop in places if start < end]

    def put(self, tree: Tree) -> int:
        """Write a directory, and return its offset."""
        size = len(directory_at(0, tree, self._layout))
        even = ((start + start % 2, end) for start, end in self._free)  # TIFF requires word alignment
        start, end = min(
            ((start, end) for start, end in even if start + size <= end),
            key=lambda place: place[1] - place[0],
            default=(len(self._block) + len(self._block) % 2, 0),
        )
        self._free = [place for place in self._free if place[1] != end] + [(start + size, end)] * (end > 0)
        self._block.extend(bytes(max(0, start + size - len(self._block))))
        self._block[start : start + size] = directory_at(start, tree, self._layout)
        return start

    def block(self, first: int) -> bytes:
        """Return the finished block, whose first directory has this offset."""
        return self._layout.header(first) + bytes(self._block[self._header_bytes :])


def _outdated_places(
    reader: TiffReader, replaced: Iterable[tuple[Directory, Changes]]
) -> Iterator[tuple[int, int]]:
    """Yield where thumbnails, replaced values and the directories of both lie."""
    for directory in _sub_images(reader):
        yield directory.start, directory.end
        yield from _pixels(reader, directory)
        yield from (reader.extent(entry) for entry in directory.entries.values())
    for old, new in replaced:
        yield old.start, old.end
        yield from (reader.extent(old.entries[tag]) for tag in new if tag in old.entries)


def _without_places(
    size: int, places: Iterable[tuple[int, int]], others: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Return the parts of places that are in a block of this size and not in other places, in order."""
    marks = bytearray(size)
    for mark, marked in ((b"\1", places), (b"\0", others)):
        for start, end in marked:
            marks[start:end] = mark * len(marks[start:end])
    return [run.span() for run in re.finditer(rb"\x01+", marks)]


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


def new_block(tree: Tree, layout: Layout) -> bytes:
    """Return a block with one directory."""
    header = layout.header(len(layout.header(0)))
    return header + directory_at(len(header), tree, layout)
