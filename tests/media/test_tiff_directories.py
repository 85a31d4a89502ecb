"""Test that this program and Pillow read TIFF directories as they were written, at any position."""

import io
import struct
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import TiffImagePlugin

from esc_cli.media.tiff_directories import (
    ASCII,
    BYTE,
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    INTEROP_DIRECTORY,
    LONG,
    RATIONAL,
    SHORT,
    UNDEFINED,
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

LAYOUTS = [Layout(order, big) for order in ("<", ">") for big in (False, True)]
_VALUE_BYTES = {
    BYTE: 1,
    ASCII: 1,
    SHORT: 2,
    LONG: 4,
    RATIONAL: 8,
    UNDEFINED: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
}

layouts = st.sampled_from(LAYOUTS)
fields = st.builds(
    lambda type, data, order: Field(type, data * _VALUE_BYTES[type], order),
    st.sampled_from(sorted(_VALUE_BYTES)),
    st.binary(min_size=1, max_size=9),
    st.sampled_from(("<", ">")),
)
tags = st.integers(0, 65_535).filter(
    lambda tag: tag not in (EXIF_DIRECTORY, GPS_DIRECTORY, INTEROP_DIRECTORY)
)
directories = st.dictionaries(tags, fields, max_size=6)


def file_with(tree: Tree, layout: Layout, before: bytes = b"") -> bytes:
    """Return a TIFF with one directory, which may follow other data."""
    position = len(layout.header(0)) + len(before)
    return layout.header(position) + before + directory_at(position, tree, layout)


def read_back(file: bytes) -> dict[int, Entry | Field | Tree]:
    reader = TiffReader(io.BytesIO(file))
    return reader.tree(reader.directory(reader.first))


def in_order(tree: Tree, layout: Layout) -> dict[int, object]:
    """Return a tree as it is read back from a file, in the file's byte order."""
    return {
        tag: Field(value.type, value.ordered(layout.order), layout.order)
        if isinstance(value, Field)
        else in_order(value, layout)  # type: ignore[arg-type]
        for tag, value in tree.items()
    }


@given(layouts, directories, directories, directories, directories, st.integers(0, 5))
def test_a_tree_is_read_as_it_was_written(
    layout: Layout,
    first: dict[int, Field],
    exif: dict[int, Field],
    gps: dict[int, Field],
    interop: dict[int, Field],
    words_before: int,
) -> None:
    inner: Tree = {**exif, INTEROP_DIRECTORY: interop}
    tree: Tree = {**first, EXIF_DIRECTORY: inner, GPS_DIRECTORY: gps}
    try:
        read = read_back(file_with(tree, layout, bytes(2 * words_before)))
    except ValueError:
        raise AssertionError("the written tree cannot be read") from None
    assert read == in_order(tree, layout)


@pytest.mark.parametrize("layout", LAYOUTS[:3])  # Pillow does not read big-endian BigTIFF
def test_pillow_reads_the_same_numbers(layout: Layout) -> None:
    tree: Tree = {
        256: number_field(70_000),
        271: text_field("a maker of cameras"),
        282: fraction_field(72.5),
        296: number_field(2, SHORT),
        700: Field(BYTE, b"<x/>!"),
        65_000: Field(12, struct.pack(">2d", 0.1, -3e300), ">"),
        65_001: Field(9, struct.pack("<3i", -1, 2, -3)),
        65_002: Field(10, struct.pack("<2i", -1, 3)),
    }
    file = io.BytesIO(file_with(tree, layout))
    directory = TiffImagePlugin.ImageFileDirectory_v2(file.read(16 if layout.big else 8))
    file.seek(directory.next)
    directory.load(file)
    assert dict(directory) == {
        256: 70_000,
        271: "a maker of cameras",
        282: Fraction(145, 2),
        296: 2,
        700: b"<x/>!",
        65_000: (0.1, -3e300),
        65_001: (-1, 2, -3),
        65_002: Fraction(-1, 3),
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_entries_stay_where_they_are(layout: Layout) -> None:
    old = file_with({271: text_field("somewhere else"), 296: number_field(2, SHORT)}, layout)
    entries = TiffReader(io.BytesIO(old)).directory(len(layout.header(0))).entries
    position = len(old)
    new = layout.header(position) + old[len(layout.header(0)) :] + directory_at(position, entries, layout)
    assert len(new) == len(old) + layout.directory_bytes(2)
    assert read_back(new) == read_back(old)


def test_values_begin_at_words() -> None:
    layout = Layout("<", big=False)
    reader = TiffReader(io.BytesIO(file_with({tag: Field(UNDEFINED, b"12345") for tag in range(3)}, layout)))
    entries = reader.directory(reader.first).entries.values()
    assert all(reader.extent(entry)[0] % 2 == 0 for entry in entries)


def test_pages_are_followed() -> None:
    layout = Layout(">", big=False)
    parts, position = [b""], 8
    for page in range(3):
        size = layout.directory_bytes(1)
        parts.append(
            directory_at(position, {256: number_field(page)}, layout, position + size if page < 2 else 0)
        )
        position += size
    reader = TiffReader(io.BytesIO(layout.header(8) + b"".join(parts)))
    pages = list(reader.chain())
    assert [reader.number(page.entries[256]) for page in pages] == [0, 1, 2]
    assert all(page.next == after.start == page.end for page, after in pairwise(pages))


def test_damage_is_an_error_or_left_out() -> None:
    layout = Layout("<", big=False)
    good = file_with({271: text_field("a text of some length"), 296: number_field(2, SHORT)}, layout)
    with pytest.raises(ValueError, match="beyond the end"):
        TiffReader(io.BytesIO(b"II*"))
    with pytest.raises(ValueError, match="header"):
        TiffReader(io.BytesIO(b"garbage of some length"))
    with pytest.raises(ValueError, match="beyond the end"):
        read_back(good[:20])
    assert read_back(good[:-5]).keys() == {296}  # the text is incomplete
    circle = layout.header(8) + directory_at(8, {296: number_field(2, SHORT)}, layout, next=8)
    with pytest.raises(ValueError, match="form a loop"):
        list(TiffReader(io.BytesIO(circle)).chain())
    unknown = file_with({271: Field(BYTE, b"abc")}, layout).replace(
        struct.pack("<HH", 271, BYTE), struct.pack("<HH", 271, 99)
    )
    assert read_back(unknown) == {}


def test_values_that_overlap_cannot_fill_the_memory() -> None:
    layout = Layout("<", big=False)
    everything = Entry(UNDEFINED, 2_000, struct.pack("<I", 0))
    file = file_with(dict.fromkeys(range(1_000, 1_100), everything), layout).ljust(2_000)
    with pytest.raises(ValueError, match="overlap"):
        read_back(file)


def test_a_broken_directory_within_is_left_out() -> None:
    layout = Layout("<", big=False)
    tree: Tree = {271: text_field("maker"), GPS_DIRECTORY: number_field(1_000_000)}
    assert read_back(file_with(tree, layout)).keys() == {271}
