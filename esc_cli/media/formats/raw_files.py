"""Read the metadata and the structure of camera raw files, which LibRaw does not report.

Most of these files are TIFFs, some with a number of their maker in the header. Canon's CR3 is a box file as
MP4 is. In other kinds, the preview, a JPEG, has EXIF.
"""

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import ceil
from typing import IO

from PIL import Image
from PIL.ExifTags import Base as Tag

from esc_cli.media.iso_boxes import boxes_of
from esc_cli.media.metadata.exif import EXIF_MARK, exif_of_tree, tree_has_fixed_note
from esc_cli.media.metadata.iptc import iptc_of_stream
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.pillow import PILLOW_ERRORS
from esc_cli.media.tiff_directories import (
    EXIF_DIRECTORY,
    GPS_DIRECTORY,
    SHORT,
    Directory,
    Entry,
    Field,
    Layout,
    TiffReader,
    Tree,
    number_field,
)

# Source: TIFF 6.0 (NewSubfileType, whose bit 0 is "reduced resolution"); DNG 1.7 (its tags; LinearRaw);
# TIFF/EP, ISO 12234-2 (CFA).
_WHITE_BALANCE = frozenset((Tag.AsShotNeutral, Tag.AsShotWhiteXY))
_REDUCED = 1
_STRIPS = (Tag.StripOffsets, Tag.StripByteCounts)
_TILES = (Tag.TileOffsets, Tag.TileByteCounts)
_SENSOR_DATA = (32_803, 34_892)

# Source: Exif 2.32, tables 3 and 15, and the tags of Windows that ExifTool lists.
_EXIF_TAGS = frozenset(
    (
        *(Tag.ImageDescription, Tag.Make, Tag.Model, Tag.Software, Tag.DateTime, Tag.Artist, Tag.Copyright),
        *(Tag.XResolution, Tag.YResolution, Tag.ResolutionUnit),
        *(Tag.Rating, Tag.RatingPercent),
        *(Tag.XPTitle, Tag.XPComment, Tag.XPAuthor, Tag.XPKeywords, Tag.XPSubject),
    )
)
_UNCALIBRATED = 0xFFFF

# Source: "Describing the Canon Raw v3 (CR3) file format" by Laurent Clevy. A box has its size and its name.
_CR3 = b"ftypcrx "
_CANON_BOX = b"uuid\x85\xc0\xb6\x87\x82\x0f\x11\xe0\x81\x11\xf4\xce\x46\x2b\x6a\x48"
_FIRST, _DETAILS, _MAKER_NOTE, _PLACE = b"CMT1", b"CMT2", b"CMT3", b"CMT4"
_MOST_BOXES_BYTES = 2**20


def is_tiff_of_camera(file: IO[bytes]) -> bool:
    """Return whether a TIFF holds a camera's sensor data. Keep the position of the file."""
    here = file.tell()
    try:
        reader = TiffReader(file)
        first = reader.directory(reader.first)
        reduced = reader.number_of(first, Tag.NewSubfileType) & _REDUCED
        is_thumbnail = bool(reduced) and Tag.SubIFDs in first.entries
        is_sensor_data = reader.number_of(first, Tag.PhotometricInterpretation) in _SENSOR_DATA
        return Tag.DNGVersion in first.entries or is_thumbnail or is_sensor_data
    except (ValueError, struct.error):
        return False
    finally:
        file.seek(here)


def is_dng(file: IO[bytes]) -> bool:
    """Return whether a file is a DNG, which states what LibRaw must know or guess of other files."""
    return _first_of_dng(file) is not None


def lacks_white_balance(file: IO[bytes]) -> bool:
    """Return whether a file is a DNG that states no white balance for its colors. Gray needs none."""
    first = _first_of_dng(file)
    return (
        first is not None and Tag.ColorMatrix1 in first.entries and _WHITE_BALANCE.isdisjoint(first.entries)
    )


def _first_of_dng(file: IO[bytes]) -> Directory | None:
    try:
        reader = TiffReader(file)
        first = reader.directory(reader.first)
    except (ValueError, struct.error):
        return None
    return first if Tag.DNGVersion in first.entries else None


def is_whole(file: IO[bytes]) -> bool:
    """Return whether all strips and tiles of a DNG are in the file. Other files count as whole.

    LibRaw 0.22 makes missing tiles black without an error.
    """
    if not is_dng(file):
        return True
    try:
        reader = TiffReader(file)
        return all(_has_all_pieces(reader, one) for one in _directories_of_sensor_data(reader))
    except (ValueError, struct.error):
        return False


def _directories_of_sensor_data(reader: TiffReader) -> Iterator[Directory]:
    first = reader.directory(reader.first)
    nested = reader.numbers(first.entries[Tag.SubIFDs]) if Tag.SubIFDs in first.entries else ()
    for directory in (first, *(reader.directory(start) for start in nested)):
        if reader.number_of(directory, Tag.PhotometricInterpretation) in _SENSOR_DATA:
            yield directory


def _has_all_pieces(reader: TiffReader, directory: Directory) -> bool:
    entries = directory.entries
    height, width = (reader.number_of(directory, tag) for tag in (Tag.ImageLength, Tag.ImageWidth))
    offsets, counts = _TILES if _TILES[0] in entries else _STRIPS
    if offsets not in entries or counts not in entries:
        return False
    if offsets == _TILES[0]:
        across, down = (reader.number_of(directory, tag) or 1 for tag in (Tag.TileWidth, Tag.TileLength))
    else:
        across, down = width, reader.number_of(directory, Tag.RowsPerStrip) or height
    pieces = list(zip(reader.numbers(entries[offsets]), reader.numbers(entries[counts]), strict=False))
    enough = len(pieces) >= ceil(width / across) * ceil(height / down)
    return enough and all(start + size <= reader.size_bytes for start, size in pieces)


# Metadata


@dataclass(frozen=True)
class RawMetadata:
    """The metadata of a camera raw file.

    Attributes:
        metadata: Any of EXIF, XMP and IPTC.
        lost_note: Whether a maker note was left out, because it is valid only at its place.
    """

    metadata: Metadata = field(default_factory=Metadata)
    lost_note: bool = False


def metadata_of_file(file: IO[bytes]) -> RawMetadata:
    """Read EXIF, XMP and IPTC from the file's own directories, as far as there are any."""
    file.seek(0)
    beginning = file.read(_MOST_BOXES_BYTES)
    try:
        if beginning[4:12] == _CR3:
            return _of_boxes(beginning)
        return _of_tiff(TiffReader(file))
    except (ValueError, struct.error):
        return RawMetadata()


def metadata_of_preview(preview: bytes) -> RawMetadata:
    """Read EXIF from a JPEG inside a file."""
    try:
        with Image.open(io.BytesIO(preview), formats=("JPEG",)) as image:
            block = image.info.get("exif", b"")
        reader = TiffReader(io.BytesIO(block.removeprefix(EXIF_MARK)))
        return _with_exif(reader.tree(reader.directory(reader.first)), reader.layout)
    except PILLOW_ERRORS:
        return RawMetadata()


def _of_tiff(reader: TiffReader) -> RawMetadata:
    first = reader.directory(reader.first)
    blocks = {
        tag: reader.field(first.entries[tag]).data
        for tag in (Tag.XMLPacket, Tag.IPTCNAA)
        if tag in first.entries
    }
    found = _with_exif(reader.tree(first), reader.layout)
    iptc = iptc_of_stream(blocks.get(Tag.IPTCNAA, b""))
    return replace(found, metadata=replace(found.metadata, xmp=blocks.get(Tag.XMLPacket), iptc=iptc))


def _of_boxes(beginning: bytes) -> RawMetadata:
    """Read EXIF from a CR3, which has a small TIFF for each directory, and one for the maker note."""
    at = beginning.find(_CANON_BOX)
    boxes = boxes_of(io.BytesIO(beginning), at + len(_CANON_BOX)) if at > 0 else ()
    blocks = {box.kind: beginning[box.content_start : box.end] for box in boxes}
    trees: dict[int, Tree] = {}
    for name, tag in ((_FIRST, 0), (_DETAILS, EXIF_DIRECTORY), (_PLACE, GPS_DIRECTORY)):
        if name in blocks:
            reader = TiffReader(io.BytesIO(blocks[name]))
            trees[tag] = reader.tree(reader.directory(reader.first), tag)
    found = _with_exif({**trees.pop(0, {}), **trees}, Layout("<", big=False))
    return replace(found, lost_note=_MAKER_NOTE in blocks)


def _with_exif(tree: Tree, layout: Layout) -> RawMetadata:
    """Make EXIF of the tags of a first directory that belong to it.

    The result has other colors than a camera's JPEG, so it does not state the color space of that.
    """
    kept: dict[int, Entry | Field | Tree] = {tag: tree[tag] for tag in _EXIF_TAGS & tree.keys()}
    for tag in (EXIF_DIRECTORY, GPS_DIRECTORY):
        nested = tree.get(tag)
        if isinstance(nested, dict) and nested:
            kept[tag] = nested
    details = kept.get(EXIF_DIRECTORY)
    if isinstance(details, dict) and Tag.ColorSpace in details:
        kept[EXIF_DIRECTORY] = {**details, Tag.ColorSpace: number_field(_UNCALIBRATED, SHORT)}
    exif = exif_of_tree(kept, layout.order) if kept else None
    return RawMetadata(Metadata(exif=exif), tree_has_fixed_note(kept))
