"""Make copies of TIFFs that a library reads where it does not read the original, or reads it wrongly.

The pixels stay where they are. Only new directories are added, and the header refers to them.
"""

import array
import io
import struct
import sys
from collections.abc import Iterator, Mapping
from itertools import islice

from PIL.ExifTags import Base as Tag

from esc_cli.media.tiff_directories import (
    BIG_TYPES,
    LONG,
    SHORT,
    Directory,
    Entry,
    Field,
    Layout,
    Order,
    TiffReader,
    Tree,
    directory_at,
)

_SEPARATE_PLANES = 2
"""The value of PlanarConfiguration for a plane for each channel. Source: TIFF 6.0, section 8."""

_PLACES_AND_SIZES = frozenset((Tag.StripOffsets, Tag.StripByteCounts, Tag.TileOffsets, Tag.TileByteCounts))
_STORAGE_OF_SAMPLES = frozenset(
    (
        *(Tag.ImageWidth, Tag.ImageLength, Tag.Compression, Tag.FillOrder, Tag.RowsPerStrip),
        *(Tag.Predictor, Tag.TileWidth, Tag.TileLength, Tag.JPEGTables),
    )
)

_NATIVE: Order = "<" if sys.byteorder == "little" else ">"


def as_classic(big: bytes) -> bytes:
    """Return a BigTIFF as a TIFF whose offsets have 32 bits; only directories are added.

    Raises:
        ValueError: The file is too large for such offsets, or damaged.
    """
    reader = TiffReader(io.BytesIO(big))
    layout, position, end = Layout(reader.layout.order, big=False), 0, len(big) + len(big) % 2
    behind = bytearray(len(big) % 2)
    try:
        for page in reversed(list(reader.chain())):
            tree = _narrowed(reader.tree(page))
            behind += directory_at(end, tree, layout, position)
            position, end = end, len(big) + len(behind)
        header = layout.header(position)
    except (struct.error, OverflowError) as error:
        raise ValueError("a BigTIFF of this size and byte order is not supported") from error
    return b"".join((header, memoryview(big)[len(header) :], behind))


def _narrowed(tree: Tree) -> Tree:
    """Return a tree whose 64-bit numbers have 32 bits."""
    narrow: dict[int, Entry | Field | Tree] = {}
    for tag, value in tree.items():
        if isinstance(value, Mapping):
            narrow[tag] = _narrowed(value)
        elif isinstance(value, Field) and value.type in BIG_TYPES:
            numbers = array.array("Q", value.ordered(_NATIVE))
            narrow[tag] = Field(LONG, array.array("I", numbers).tobytes(), _NATIVE)
        else:
            narrow[tag] = value
    return narrow


def plain_pages(tiff: bytes, page: int) -> bytes:
    """Return a copy of a TIFF that has the samples of one page, declared as gray or RGB and other channels.

    A page with a plane for each channel becomes one page of gray for each plane.

    Args:
        tiff: Content of the file.
        page: Number of the page.

    Raises:
        ValueError: The file is damaged.
    """
    reader = TiffReader(io.BytesIO(tiff))
    directory = next(islice(reader.chain(), page, None), None)
    if directory is None:
        raise ValueError("a page is missing in the TIFF")
    behind, next_page = bytearray(len(tiff) % 2), 0
    for tree in reversed(list(_plain_trees(reader, directory))):
        position = len(tiff) + len(behind)
        behind += directory_at(position, tree, reader.layout, next_page)
        next_page = position
    return b"".join((reader.layout.header(next_page), memoryview(tiff)[reader.header_bytes :], behind))


def _plain_trees(reader: TiffReader, page: Directory) -> Iterator[Tree]:
    kept: Tree = {tag: entry for tag, entry in page.entries.items() if tag in _STORAGE_OF_SAMPLES}
    count = reader.number_of(page, Tag.SamplesPerPixel, 1)
    if reader.number_of(page, Tag.PlanarConfiguration) != _SEPARATE_PLANES:
        yield {**kept, **_plain_colors(reader, page, count), **_places(reader, page, 0, 1)}
        return
    for plane in range(count):
        yield {**kept, **_plain_colors(reader, page, 1), **_places(reader, page, plane, count)}


def _plain_colors(reader: TiffReader, page: Directory, count: int) -> dict[int, Field]:
    """Declare channels of the type of the first one."""
    colors, white_is_not_zero = (1, 1) if count < 3 else (3, 2)
    bits = Tag.BitsPerSample
    values = {
        bits: [reader.number_of(page, bits)] * count if bits in page.entries else [1],
        Tag.PhotometricInterpretation: [white_is_not_zero],
        Tag.SamplesPerPixel: [count],
        Tag.SampleFormat: [reader.number_of(page, Tag.SampleFormat, 1)] * count,
        Tag.ExtraSamples: [0] * (count - colors),
    }
    return {tag: Field(SHORT, struct.pack(f"<{len(all)}H", *all)) for tag, all in values.items() if all}


def _places(reader: TiffReader, page: Directory, plane: int, planes: int) -> dict[int, Field]:
    """Return where the strips or tiles of a plane are, and how many bytes they have."""
    places: dict[int, Field] = {}
    for tag in _PLACES_AND_SIZES & page.entries.keys():
        field = reader.field(page.entries[tag])
        count = field.count // planes
        places[tag] = field.part(plane * count, (plane + 1) * count)
    return places
