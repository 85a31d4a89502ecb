"""TIFF with pages of any depth: who reads them, how they are written, and their metadata."""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.ImageFile import ImageFile
from PIL.TiffImagePlugin import AppendingTiffWriter, TiffImageFile

from esc_cli.errors import OutputError
from esc_cli.media.formats import tiff_kinds
from esc_cli.media.formats.base import INT32_MAX, PictureFormat
from esc_cli.media.formats.tiff_copies import as_classic
from esc_cli.media.metadata.exif import (
    RESOLUTION_TAGS,
    STORAGE_TAGS,
    dpi_of_page,
    exif_of_page,
    movable_exif_tree,
    page_has_fixed_note,
    resolution_fields,
)
from esc_cli.media.metadata.geo import geo_of_page
from esc_cli.media.metadata.iptc import iptc_of_resources, iptc_of_stream
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.metadata.no_data import fitted_no_data, notes_on_no_data
from esc_cli.media.metadata.pillow_metadata import metadata_of_pillow
from esc_cli.media.pillow import PILLOW_ERRORS, Opened
from esc_cli.media.pixels.bits import FLOAT_BITS, SIGNED_NOTE
from esc_cli.media.tiff_directories import (
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

if TYPE_CHECKING:
    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels

# On an upscaled photo, LZW with differencing takes 0.023 s/MP for 30 % of the raw size, and Pillow's Deflate
# takes 0.086 s/MP for 26 %.
_HORIZONTAL_DIFFERENCES = 2
_OPTIONS = {"compression": "tiff_lzw", "tiffinfo": {Tag.Predictor: _HORIZONTAL_DIFFERENCES}}
# Options of libvips for more than 8 bits. On the same photo, Deflate with differencing takes 0.079 s/MP for
# 57 % of the raw size, and LZW takes 0.082 s/MP for 79 %. For floats, Deflate takes 0.147 s/MP for 44 %, and
# LZW takes 0.137 s/MP for 54 %.
_DEEP_OPTIONS = {"compression": "deflate"}
_CLASSIC_BYTES = 2**32 - 2**24
"""The maximum size of the pixels in a classic TIFF, whose offsets have 32 bits."""

# Source: XMP specification part 3, 1.1.6; Photoshop TIFF technical notes; ICC.1:2022, B.4.
_BLOCKS = (Tag.XMLPacket, Tag.IPTCNAA, Tag.ImageResources, Tag.InterColorProfile)
"""Tags with metadata of other standards: XMP, captions, Photoshop's resources and the color profile."""

_METADATA_TAGS = RESOLUTION_TAGS | {*_BLOCKS, EXIF_DIRECTORY, GPS_DIRECTORY}

_BIG_TIFF_OF_BIG_ENDIAN = b"MM\0+"
_PLACES = ((Tag.StripOffsets, Tag.StripByteCounts), (Tag.TileOffsets, Tag.TileByteCounts))

_PROFILE_SPACES = {0: b"GRAY", 1: b"GRAY", 2: b"RGB "}
"""The color space of a matching profile, by PhotometricInterpretation. Source: ICC.1:2022, 7.2.6."""


class Tiff(PictureFormat):
    """TIFF and BigTIFF. Source: TIFF 6.0, section 2 (signature). Pillow's integers limit the sides."""

    name = "TIFF"
    extensions = (".tif", ".tiff")
    signature = rb"II[*+]\0|MM\0[*+]"
    largest_side_px = INT32_MAX
    holds = frozenset(("icc_profile", "exif", "xmp", "iptc", "dpi", "geo"))
    moves_exif = True
    depths_bits = (8, 16, FLOAT_BITS)
    several = "pages"
    bytes_a_value = 0.35
    deep_share = 0.8

    def load_plugin(self) -> None:
        """Register in Pillow the kinds that libvips decodes."""
        tiff_kinds.register_kinds()

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Open a file, and hand Pillow the only kind that it does not know as another kind."""
        self.load_plugin()
        file.seek(0)
        mark = file.read(len(_BIG_TIFF_OF_BIG_ENDIAN))
        file.seek(0)
        content = io.BytesIO(as_classic(file.read())) if mark == _BIG_TIFF_OF_BIG_ENDIAN else file
        return tiff_kinds.TiffPages(content, name)

    def depth_bits(self, opened: Opened) -> int:
        """Read the bit depth from the file. Source: TIFF 6.0, BitsPerSample."""
        return tiff_kinds.depth_bits(opened.image)

    def is_floating(self, opened: Opened) -> bool:
        """Return whether the file stores floats."""
        return tiff_kinds.is_floating(opened.image)

    def converted_space(self, image: Image.Image) -> str | None:
        """Return the color space that the file states; with alpha, Pillow's mode does not show it."""
        if not isinstance(image, TiffImageFile):
            return super().converted_space(image)
        return tiff_kinds.converted_space(image)

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether libvips must decode the picture."""
        return tiff_kinds.needs_libvips(opened.image)

    def reading_notes(self, opened: Opened) -> Iterator[str]:
        """Yield the conversion of numbers with a sign, and what happens to pixels without data."""
        image = opened.image
        if tiff_kinds.is_signed(image):
            yield SIGNED_NOTE
        shift = tiff_kinds.shift_of_values(image)
        yield from notes_on_no_data(image, shift, floating=tiff_kinds.is_floating(image))

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with libvips. Associated alpha is divided out; other extra channels are dropped."""
        from esc_cli.media.formats.tiff_decoding import decoded
        from esc_cli.media.pixels.orientation import turned

        number = cast(tiff_kinds.TiffPages, opened.image).directory_number(page)
        pixels = decoded(opened.image, source, number, opened.name)
        return replace(pixels, values=turned(pixels.values, _orientation(opened.image)))

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return the share of strips or tiles that the file does not hold to their ends."""
        tags = tiff_kinds.tags_of(opened.image)
        if not tiff_kinds.is_compressed(opened.image) and not self.is_too_deep_for_pillow(opened):
            return self.undecoded_share(opened, content)
        for offsets, counts in _PLACES:
            pieces = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
            lost = [int(start + size > len(content)) for start, size in pieces]
            if lost:
                return sum(lost) / len(lost)
        return None

    def orientation(self, image: Image.Image) -> int:
        """Return 1, because Pillow applies the orientation of a TIFF itself, to its size as well.

        It does not see an orientation that is stored in bytes instead of 16-bit integers.
        """
        stored = tiff_kinds.tags_of(image).get(Tag.Orientation) if isinstance(image, TiffImageFile) else None
        return _orientation(image) if isinstance(stored, bytes) else 1

    def companions(self, opened: Opened) -> Iterator[str]:
        """Add overviews, masks, more channels, and a maker note that would be invalid anywhere else."""
        yield from super().companions(opened)
        if count := tiff_kinds.channels_left_out(opened.image):
            yield f"channels that are neither color nor transparency were left out: {count}"
        contents = cast(tiff_kinds.TiffPages, opened.image).contents
        yield from () if contents is None else contents.notes()
        try:
            with _page(cast(TiffImageFile, opened.image)) as (reader, page):
                is_left_out = page_has_fixed_note(reader, page)
        except PILLOW_ERRORS:
            return  # then, EXIF is what Pillow has kept
        if is_left_out:
            yield "the maker note was left out, since it is valid only at its place in the file"

    def stored_metadata(self, image: Image.Image) -> Metadata:
        """Read the metadata from the file itself.

        Pillow keeps metadata of an earlier page, and only one number of the captions.
        """
        if isinstance(image, TiffImageFile):
            try:
                return _stored_metadata(image)
            except PILLOW_ERRORS:
                pass  # fall back to the metadata that Pillow has kept
        return metadata_of_pillow(image)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: Metadata,
        quality: int | None,
    ) -> bytes:
        """Encode pages, each with its own depth and size."""
        large = sum(_values_bytes(picture) for picture in pictures) > _CLASSIC_BYTES
        pages = (self._encode_page(picture, large) for picture in pictures)
        if len(pictures) == 1:
            return next(pages)
        content = io.BytesIO()
        with AppendingTiffWriter(content) as writer:  # Pillow also writes several pages with it
            for page in pages:
                writer.write(page)
                writer.newFrame()
        return content.getvalue()

    def _encode_page(self, picture: "Picture", large: bool) -> bytes:
        from esc_cli.media import vips
        from esc_cli.media.formats.encoding import encode_with_pillow, values_of

        if picture.depth_bits == 8:
            return encode_with_pillow([picture], None, self, {**_OPTIONS, "big_tiff": large})
        predictor = "float" if picture.depth_bits == FLOAT_BITS else "horizontal"
        options = {**_DEEP_OPTIONS, "predictor": predictor, "bigtiff": large}
        return vips.encode(values_of(picture), "tiffsave_buffer", options, self.name)

    def metadata_options(self, metadata: Metadata) -> dict[str, Any]:
        """Return no options, because Pillow writes no nested directories into a compressed TIFF.

        The method `embed` writes all metadata.
        """
        return {}

    def embed(self, encoded: bytes, metadata: "Sequence[Metadata]") -> bytes:
        """Append new directories that replace the old ones, beginning with the last page.

        Later pages without their own metadata get the color profile and the resolution of the first page.
        """
        reader = TiffReader(io.BytesIO(encoded))
        default = Metadata(icc_profile=metadata[0].icc_profile, dpi=metadata[0].dpi)
        behind, next = bytearray(len(encoded) % 2), 0
        try:
            for number, page in reversed(list(enumerate(reader.chain()))):
                own = metadata[number] if number < len(metadata) else default
                position = len(encoded) + len(behind)
                behind += directory_at(position, _page_with(page, reader, own), reader.layout, next)
                next = position
            header = reader.layout.header(next)
        except struct.error as error:
            raise OutputError("the picture and its metadata together are too large for a TIFF") from error
        return b"".join((header, memoryview(encoded)[reader.header_bytes :], behind))


# Reading


def _orientation(image: Image.Image) -> int:
    """Return the orientation of the current page, 1 to 8, of any type of whole numbers."""
    stored = tiff_kinds.tags_of(image).get(Tag.Orientation, 1)
    number = int.from_bytes(stored[:1]) if isinstance(stored, bytes) else stored
    return int(number) if number in range(1, 9) else 1


def _stored_metadata(image: TiffImageFile) -> Metadata:
    with _page(image) as (reader, page):
        read = {tag: reader.field(page.entries[tag]).data for tag in _BLOCKS if tag in page.entries}
        resources = read.get(Tag.ImageResources, b"")
        captions = iptc_of_stream(read.get(Tag.IPTCNAA, b"")) or iptc_of_resources(resources)
        exif = exif_of_page(reader, page, fitted_no_data(image, tiff_kinds.shift_of_values(image)))
        dpi, geo = dpi_of_page(reader, page), geo_of_page(reader, page)
    return Metadata(read.get(Tag.InterColorProfile), exif, read.get(Tag.XMLPacket), dpi, captions, geo=geo)


@contextmanager
def _page(image: TiffImageFile) -> Iterator[tuple[TiffReader, Directory]]:
    """Yield a reader and the directory of the current page; restore the file position afterwards."""
    file: IO[bytes] = image.fp or image.getexif().fp
    here = file.tell()
    try:
        reader = TiffReader(file)
        yield reader, reader.directory(image.tag_v2.offset)
    finally:
        file.seek(here)


# Writing


def _values_bytes(picture: "Picture") -> int:
    channels = (1 if picture.gray else 3) + (picture.alpha is not None)
    return picture.height * picture.width * channels * picture.color.element_size()


def _page_with(page: Directory, reader: TiffReader, metadata: Metadata) -> Tree:
    """Return a page's directory, with its storage tags unchanged and with new metadata."""
    tags: dict[int, Entry | Field | Tree] = {
        tag: entry for tag, entry in page.entries.items() if tag not in _METADATA_TAGS
    }
    if metadata.exif is not None:
        tags |= movable_exif_tree(metadata.exif, without=STORAGE_TAGS)
    photometric = reader.number(page.entries[Tag.PhotometricInterpretation])
    profile = metadata.icc_profile
    fits = profile is not None and profile[16:20] == _PROFILE_SPACES.get(photometric)
    blocks = {
        Tag.XMLPacket: (BYTE, metadata.xmp),
        Tag.IPTCNAA: (UNDEFINED, metadata.iptc),
        Tag.InterColorProfile: (UNDEFINED, profile if fits else None),
    }
    fields = {tag: Field(type, data) for tag, (type, data) in blocks.items() if data is not None}
    places = {} if metadata.geo is None else dict(metadata.geo.fields)
    return tags | resolution_fields(metadata.dpi) | fields | places
