"""Read TIFF directories as they are stored, and append new ones, so that nothing else moves.

EXIF is a small TIFF, so this module handles both. Pillow's directories are not used, since they change values
when they copy them: they reduce fractions, guess the types in nested directories, replace text beyond ASCII
with question marks, and increase the offsets of the pixels. Values must stay where they are because maker
notes refer to themselves by offsets into the file.
"""

import array
import struct
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Literal, TypeAlias

Order = Literal["<", ">"]
"""Byte order, little or big endian, as `struct` writes it."""

# Source: TIFF 6.0, section 2 (types 1 to 12); TIFF Technical Note 1 (13); BigTIFF (16 to 18); Exif 3.0 (129).
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED, SIGNED_RATIONAL, _IFD8, _UTF8 = 1, 2, 3, 4, 5, 7, 10, 18, 129
_NUMBER_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4, 129: 1}
_BIG_NUMBER_BYTES = {16: 8, 17: 8, 18: 8}
BIG_TYPES = frozenset(_BIG_NUMBER_BYTES)
"""Types of 64-bit numbers, which only a BigTIFF has."""

_NUMBERS_A_VALUE = {5: 2, 10: 2}
_ARRAY_TYPES = {2: "H", 4: "I", 8: "Q"}

EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY = 34665, 34853, 40965
"""Tags that refer to a directory. Source: Exif 2.32, 4.6.3."""

_NESTED: dict[int, tuple[int, ...]] = {
    0: (EXIF_DIRECTORY, GPS_DIRECTORY),
    EXIF_DIRECTORY: (INTEROP_DIRECTORY,),
    GPS_DIRECTORY: (),
    INTEROP_DIRECTORY: (),
}

_MARKS_OF_MAKERS = {b"IIRO": b"II*\0", b"IIRS": b"II*\0", b"MMOR": b"MM\0*", b"IIU\0": b"II*\0"}
"""Headers of camera raw files that are TIFFs otherwise. Source: ExifTool, Exif.pm (Olympus, Panasonic)."""

_LARGEST_DENOMINATOR = 10_000


@dataclass(frozen=True)
class Layout:
    """Byte order and offset size of a file's directories. Source: TIFF 6.0, section 2; BigTIFF.

    Attributes:
        order: Byte order of numbers.
        big: Whether the file is a BigTIFF, whose offsets have 64 bits.
    """

    order: Order
    big: bool

    @property
    def offset(self) -> str:
        """The `struct` format of an offset, and of the number of values in an entry."""
        return self.order + ("Q" if self.big else "I")

    @property
    def count(self) -> str:
        """The `struct` format of the number of entries in a directory."""
        return self.order + ("Q" if self.big else "H")

    @property
    def entry(self) -> str:
        """The `struct` format of an entry: its tag, type, number of values, and place."""
        return self.order + ("HHQ8s" if self.big else "HHI4s")

    @property
    def place_bytes(self) -> int:
        """The size of an entry's place, which holds the value if that fits, otherwise its offset."""
        return struct.calcsize(self.offset)

    def header(self, first: int) -> bytes:
        """Return the first bytes of a file.

        Args:
            first: Offset of the first directory.
        """
        mark = b"II" if self.order == "<" else b"MM"
        version = (43, 8, 0) if self.big else (42,)
        numbers = struct.pack(f"{self.order}{len(version)}H", *version)
        return mark + numbers + struct.pack(self.offset, first)

    def directory_bytes(self, entries: int) -> int:
        """Return the size of a directory without the values that are stored elsewhere."""
        fixed = struct.calcsize(self.count) + struct.calcsize(self.offset)
        return fixed + entries * struct.calcsize(self.entry)


@dataclass(frozen=True)
class Entry:
    """A value that stays where it is in its file.

    Attributes:
        type: TIFF's number of the type.
        count: Number of values.
        place: The values themselves if they fit, otherwise their offset.
    """

    type: int
    count: int
    place: bytes


@dataclass(frozen=True)
class Field:
    """A value that can be written anywhere.

    Attributes:
        type: TIFF's number of the type.
        data: The values, one after the other.
        order: Byte order of the numbers in ``data``.
    """

    type: int
    data: bytes
    order: Order = "<"

    @property
    def count(self) -> int:
        """The number of values."""
        return len(self.data) // _value_bytes(self.type)

    def part(self, start: int, end: int) -> "Field":
        """Return some of the values.

        Args:
            start: Number of the first one, counted from 0.
            end: Number of the first one after it that is left out.
        """
        size = _value_bytes(self.type)
        return Field(self.type, self.data[start * size : end * size], self.order)

    def ordered(self, order: Order) -> bytes:
        """Return the values in another byte order."""
        number_bytes = _number_bytes(self.type)
        if order == self.order or number_bytes == 1:
            return self.data
        numbers = array.array(_ARRAY_TYPES[number_bytes], self.data)
        numbers.byteswap()
        return numbers.tobytes()


Tree: TypeAlias = Mapping[int, "Entry | Field | Tree"]
"""A directory to be written, by tag, including its nested directories."""


@dataclass(frozen=True)
class Directory:
    """A directory as it is stored.

    Attributes:
        entries: Entries by tag. Entries of unknown types and those that lie outside the file are left out.
        start: Offset of the directory.
        end: Offset of the first byte after the directory.
        next: Offset of the next directory; 0 after the last one.
    """

    entries: Mapping[int, Entry]
    start: int
    end: int
    next: int


class TiffReader:
    """Reads the directories of a TIFF file, or of an EXIF block without its "Exif".

    Attributes:
        layout: How the directories are stored.
        first: Offset of the first directory.
        header_bytes: Size of the file's header.
        size_bytes: Size of the whole file.

    Args:
        file: File that begins with a TIFF header. Its position does not matter.

    Raises:
        ValueError: The file is not a TIFF.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size_bytes = file.seek(0, 2)
        mark = self._read(0, 4)
        layouts = {layout.header(0)[:4]: layout for layout in _LAYOUTS}
        mark = _MARKS_OF_MAKERS.get(mark, mark)
        if mark not in layouts:
            raise ValueError("the file has no TIFF header")
        self.layout = layouts[mark]
        self.header_bytes = len(self.layout.header(0))
        place_bytes = self.layout.place_bytes
        self.first = self._offset(self._read(self.header_bytes - place_bytes, place_bytes))

    def directory(self, start: int) -> Directory:
        """Read the directory at an offset.

        Raises:
            ValueError: The directory lies outside the file, or its values are larger than the whole file,
                which would let a small file take much memory.
        """
        layout, count_bytes = self.layout, struct.calcsize(self.layout.count)
        (count,) = struct.unpack(layout.count, self._read(start, count_bytes))
        end = start + layout.directory_bytes(count)
        table = self._read(start + count_bytes, end - start - count_bytes)
        rows = struct.iter_unpack(layout.entry, table[: -layout.place_bytes])
        entries = {tag: Entry(*row) for tag, *row in rows}
        whole = {tag: entry for tag, entry in entries.items() if self._is_whole(entry)}
        if sum(_size_bytes(entry) for entry in whole.values()) > self.size_bytes:
            raise ValueError("the values in a TIFF overlap")
        return Directory(whole, start, end, self._offset(table[-layout.place_bytes :]))

    def chain(self) -> Iterator[Directory]:
        """Yield the first directory and those that follow it, one for each page.

        Raises:
            ValueError: A directory lies outside the file, or the directories form a loop.
        """
        seen, start = set[int](), self.first
        while start:
            if start in seen:
                raise ValueError("the directories of the TIFF form a loop")
            seen.add(start)
            directory = self.directory(start)
            yield directory
            start = directory.next

    def field(self, entry: Entry) -> Field:
        """Read the value of an entry."""
        start, end = self.extent(entry)
        data = entry.place[: _size_bytes(entry)] if start == end else self._read(start, end - start)
        return Field(entry.type, data, self.layout.order)

    def number(self, entry: Entry) -> int:
        """Read the first whole number of an entry, such as an offset."""
        return self.numbers(entry)[0]

    def number_of(self, directory: Directory, tag: int, default: int = 0) -> int:
        """Read the first whole number of a tag, or return the default if the directory lacks the tag."""
        return self.number(directory.entries[tag]) if tag in directory.entries else default

    def numbers(self, entry: Entry) -> tuple[int, ...]:
        """Read all whole numbers of an entry."""
        field = self.field(entry)
        kind = {1: "B", 2: "H", 4: "I", 8: "Q"}[_number_bytes(field.type)]
        count = len(field.data) // _number_bytes(field.type)
        return struct.unpack(f"{self.layout.order}{count}{kind}", field.data)

    def extent(self, entry: Entry) -> tuple[int, int]:
        """Return where a value begins and ends in the file; (0, 0) if it lies in the entry itself."""
        size = _size_bytes(entry)
        if size <= self.layout.place_bytes:
            return 0, 0
        start = self._offset(entry.place)
        return start, start + size

    def tree(
        self, directory: Directory, tag: int = 0, without: Set[int] = frozenset()
    ) -> dict[int, "Entry | Field | Tree"]:
        """Read all values of a directory and its nested directories; broken nested directories are left out.

        Args:
            directory: The directory to read.
            tag: Tag that refers to the directory; 0 for the directory of a page or an EXIF block.
            without: Tags to skip in the directory itself.
        """
        tree: dict[int, Entry | Field | Tree] = {}
        for key in directory.entries.keys() - without:
            entry = directory.entries[key]
            if key not in _NESTED[tag]:
                tree[key] = self.field(entry)
            elif (inner := self.nested(directory, key)) is not None:
                tree[key] = self.tree(inner, key)
        return tree

    def nested(self, directory: Directory, tag: int) -> Directory | None:
        """Read the directory that an entry refers to; return None if it is missing or broken."""
        try:
            return self.directory(self.number(directory.entries[tag]))
        except (KeyError, ValueError):
            return None

    def _is_whole(self, entry: Entry) -> bool:
        known = entry.type in _NUMBER_BYTES or (self.layout.big and entry.type in _BIG_NUMBER_BYTES)
        return known and entry.count > 0 and self.extent(entry)[1] <= self.size_bytes

    def _offset(self, place: bytes) -> int:
        return int(struct.unpack(self.layout.offset, place)[0])

    def _read(self, start: int, size: int) -> bytes:
        if start + size > self.size_bytes:
            raise ValueError("part of the TIFF lies beyond the end of the file")
        self._file.seek(start)
        return self._file.read(size)


def directory_at(position: int, tree: Tree, layout: Layout, next: int = 0) -> bytes:
    """Encode a directory, followed by its values and its nested directories.

    Args:
        position: Offset at which the directory will be stored. It must be even, since TIFF requires word
            alignment.
        tree: Content of the directory.
        layout: Layout of the file.
        next: Offset of the next directory.

    Raises:
        struct.error: An offset does not fit in the layout.
    """
    rows, values = [], bytearray()
    behind = position + layout.directory_bytes(len(tree))
    for tag, value in sorted(tree.items()):
        row, data = _stored(value, behind + len(values), layout)
        rows.append(struct.pack(layout.entry, tag, row.type, row.count, row.place))
        values += data + bytes(len(data) % 2)
    count = struct.pack(layout.count, len(rows))
    return count + b"".join(rows) + struct.pack(layout.offset, next) + bytes(values)


def text_field(text: str) -> Field:
    """Make a text value, which TIFF requires to be ASCII."""
    return Field(ASCII, text.encode("ascii", "replace") + b"\0")


def number_field(number: int, type: int = LONG) -> Field:
    """Make a value of one whole number."""
    return Field(type, struct.pack("<H" if type == SHORT else "<I", number))


def fraction_field(number: float) -> Field:
    """Make a value of one positive number, stored as a fraction."""
    fraction = Fraction(number).limit_denominator(_LARGEST_DENOMINATOR)
    return Field(RATIONAL, struct.pack("<II", *fraction.as_integer_ratio()))


def pointer(offset: int, layout: Layout) -> Entry:
    """Make an entry that refers to a directory."""
    return Entry(_IFD8 if layout.big else LONG, 1, struct.pack(layout.offset, offset))


def _stored(value: "Entry | Field | Tree", behind: int, layout: Layout) -> tuple[Entry, bytes]:
    """Return a value's entry, and the bytes to store at the offset ``behind`` if it refers to any."""
    if isinstance(value, Entry):
        return value, b""
    if not isinstance(value, Field):
        return pointer(behind, layout), directory_at(behind, value, layout)
    data = value.ordered(layout.order)
    if len(data) <= layout.place_bytes:
        return Entry(value.type, value.count, data.ljust(layout.place_bytes, b"\0")), b""
    return Entry(value.type, value.count, struct.pack(layout.offset, behind)), data


def _number_bytes(type: int) -> int:
    return (_NUMBER_BYTES | _BIG_NUMBER_BYTES)[type]


def _value_bytes(type: int) -> int:
    return _number_bytes(type) * _NUMBERS_A_VALUE.get(type, 1)


def _size_bytes(entry: Entry) -> int:
    return entry.count * _value_bytes(entry.type)


_LAYOUTS = tuple(Layout(order, big) for order in ("<", ">") for big in (False, True))
