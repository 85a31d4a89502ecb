"""TIFF with pages of any depth.

This module registers more kinds of TIFF in Pillow, decodes those kinds with libvips, and embeds metadata.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image, TiffImagePlugin
from PIL.TiffImagePlugin import AppendingTiffWriter, TiffImageFile

from esc_cli.errors import OutputError
from esc_cli.media.damage import keeps_damaged
from esc_cli.media.formats.base import INT32_MAX, PictureFormat, share_undecoded_by_pillow
from esc_cli.media.metadata.exif import (
    RESOLUTION_TAGS,
    STORAGE_TAGS,
    dpi_of_page,
    exif_of_page,
    exif_tree,
    resolution_fields,
)
from esc_cli.media.metadata.iptc import iptc_of_resources, iptc_of_stream
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.metadata.pillow_metadata import metadata_of_pillow
from esc_cli.media.pillow import PILLOW_ERRORS, Opened
from esc_cli.media.pixels.bits import FLOAT_BITS
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
    from esc_cli.media.pixels.depth import Array, Pixels

# On an upscaled photo, LZW with differencing takes 0.023 s/MP for 30 % of the raw size, and Pillow's Deflate
# takes 0.086 s/MP for 26 %.
_PREDICTOR, _HORIZONTAL_DIFFERENCES = 317, 2
_OPTIONS = {"compression": "tiff_lzw", "tiffinfo": {_PREDICTOR: _HORIZONTAL_DIFFERENCES}}
# Options of libvips for more than 8 bits. On the same photo, Deflate with differencing takes 0.079 s/MP for
# 57 % of the raw size, and LZW takes 0.082 s/MP for 79 %. For floats, Deflate takes 0.147 s/MP for 44 %, and
# LZW takes 0.137 s/MP for 54 %.
_DEEP_OPTIONS = {"compression": "deflate"}
_CLASSIC_BYTES = 2**32 - 2**24
"""The maximum size of the pixels in a classic TIFF, whose offsets have 32 bits."""

# Source: TIFF 6.0, sections 8, 18 and 19, appendix A; XMP specification part 3, 1.1.6; ICC.1:2022, B.4.
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _SAMPLE_FORMAT = 258, 262, 274, 339
_XMP, _IPTC, _PHOTOSHOP, _PROFILE = 700, 33723, 34377, 34675
_METADATA_TAGS = RESOLUTION_TAGS | {_XMP, _IPTC, _PHOTOSHOP, _PROFILE, EXIF_DIRECTORY, GPS_DIRECTORY}

_COMPRESSION, _UNCOMPRESSED = 259, 1
_PLACES = ((273, 279), (324, 325))
"""Tags with the offsets and sizes of strips, and of tiles. Source: TIFF 6.0, sections 8 and 15."""

_UNSIGNED, _FLOATING = 1, 3
_DEEP_SAMPLES = ((_UNSIGNED, 16), (_UNSIGNED, 32), (_FLOATING, 16), (_FLOATING, 32))

_PROFILE_SPACES = {0: b"GRAY", 1: b"GRAY", 2: b"RGB "}
"""The color space of a matching profile, by PhotometricInterpretation. Source: ICC.1:2022, 7.2.6."""


class Tiff(PictureFormat):
    """TIFF and BigTIFF. Source: TIFF 6.0, section 2 (signature). Pillow's integers limit the sides."""

    name = "TIFF"
    extensions = (".tif", ".tiff")
    signature = rb"II[*+]\0|MM\0[*+]"
    largest_side_px = INT32_MAX
    holds = frozenset(("icc_profile", "exif", "xmp", "iptc", "dpi"))
    depths_bits = (8, 16, FLOAT_BITS)
    several = "pages"
    bytes_a_value = 0.35
    deep_share = 0.8

    def load_plugin(self) -> None:
        """Register in Pillow the kinds that libvips decodes."""
        _know_deep_kinds()

    def depth_bits(self, opened: Opened) -> int:
        """Read the bit depth from the file. Source: TIFF 6.0, BitsPerSample."""
        return int(max(_tags(opened.image).get(_BITS_PER_SAMPLE, (1,))))

    def is_floating(self, opened: Opened) -> bool:
        """Return whether the file stores floats."""
        return _sample_format(opened.image) == _FLOATING

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether libvips must decode the picture.

        Of the deep kinds, Pillow keeps all bits only of floats with one plane. CMYK and Lab are left to
        Pillow, because libvips converts neither.
        """
        image = opened.image
        samples = (_sample_format(image), self.depth_bits(opened))
        plain = _tags(image).get(_PHOTOMETRIC) in _PROFILE_SPACES
        if keeps_damaged() and plain and samples == (_UNSIGNED, 8):
            return _tags(image).get(_COMPRESSION) != _UNCOMPRESSED  # Pillow gives up at damaged strips
        return plain and samples in _DEEP_SAMPLES and (image.mode, *samples) != ("F", _FLOATING, 32)

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with libvips, which unpremultiplies associated alpha; other extra channels are dropped."""
        from esc_cli.media.pixels.depth import Pixels, from_floats, from_integers, from_wide_integers
        from esc_cli.media.pixels.orientation import turned

        image = opened.image
        turn = _tags(image).get(_ORIENTATION, 1)
        values = decode_page(source, page, opened.name)[..., : len(image.getbands())]
        values = turned(values, turn if turn in range(1, 9) else 1)
        if self.is_floating(opened):
            return from_floats(values)
        if values.dtype.itemsize == 1:
            return Pixels(values)
        return from_integers(values, 16) if values.dtype.itemsize == 2 else from_wide_integers(values)

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Return the share of strips or tiles that the file does not hold to their ends."""
        tags = _tags(opened.image)
        if tags.get(_COMPRESSION) == _UNCOMPRESSED and not self.is_too_deep_for_pillow(opened):
            return share_undecoded_by_pillow(self, opened, content)
        for offsets, counts in _PLACES:
            pieces = zip(tags.get(offsets, ()), tags.get(counts, ()), strict=False)
            lost = [int(start + size > len(content)) for start, size in pieces]
            if lost:
                return sum(lost) / len(lost)
        return None

    def orientation(self, image: Image.Image) -> int:
        """Return 1, because Pillow applies the orientation of a TIFF itself, to its size as well."""
        return 1

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
        default = replace(metadata[0], exif=None, xmp=None, iptc=None)
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


def _tags(image: Image.Image) -> TiffImagePlugin.ImageFileDirectory_v2:
    return cast(TiffImageFile, image).tag_v2


def _sample_format(image: Image.Image) -> int:
    return int(max(_tags(image).get(_SAMPLE_FORMAT, (_UNSIGNED,))))


def decode_page(source: Path | bytes, page: int, name: str) -> "Array":
    """Decode a page as it is stored, or fail if a tile is damaged or missing.

    libvips only warns of such a tile and makes it black, so the first attempt fails on warnings. Harmless
    oddities cause warnings, too, but without a description. In this case, a second attempt fails on errors.

    Returns:
        Pixels of shape (H, W, C), with the data type and channels of the file.

    Raises:
        InputError: The file is damaged, incomplete or of a kind that libvips does not read.
    """
    from esc_cli.media import vips

    return vips.decode(source, "tiffload_buffer", name, fail_on=("warning", "error"), page=page)


def _stored_metadata(image: TiffImageFile) -> Metadata:
    with _page(image) as (reader, page):
        read = {
            tag: reader.field(page.entries[tag]).data
            for tag in (_XMP, _IPTC, _PHOTOSHOP, _PROFILE)
            if tag in page.entries
        }
        captions = iptc_of_stream(read.get(_IPTC, b"")) or iptc_of_resources(read.get(_PHOTOSHOP, b""))
        exif, dpi = exif_of_page(reader, page), dpi_of_page(reader, page)
    return Metadata(icc_profile=read.get(_PROFILE), exif=exif, xmp=read.get(_XMP), iptc=captions, dpi=dpi)


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
        tags |= exif_tree(metadata.exif, without=STORAGE_TAGS)
    photometric = reader.number(page.entries[_PHOTOMETRIC])
    profile = metadata.icc_profile
    fits = profile is not None and profile[16:20] == _PROFILE_SPACES.get(photometric)
    blocks = {
        _XMP: (BYTE, metadata.xmp),
        _IPTC: (UNDEFINED, metadata.iptc),
        _PROFILE: (UNDEFINED, profile if fits else None),
    }
    fields = {tag: Field(type, data) for tag, (type, data) in blocks.items() if data is not None}
    return tags | resolution_fields(metadata.dpi) | fields


# Kinds that are registered in Pillow, so that it reads their headers


_GRAYS, _RGB = (0, 1), 2
_INTEGERS, _FLOATS = (_UNSIGNED,), (_FLOATING,)
_NO_EXTRA: tuple[tuple[int, ...], ...] = ((),)
_ALPHA: tuple[tuple[int, ...], ...] = ((1,), (2,))  # associated, unassociated
_UNKNOWN = ((0,),)

_Kind = tuple[bytes, int, tuple[int, ...], int, tuple[int, ...], tuple[int, ...]]

_LEFT_TO_LIBVIPS = "left to libvips"
"""A raw mode for Pillow's table. Pillow has no raw mode of this name, so it fails instead of decoding."""


@cache
def _know_deep_kinds() -> None:
    """Add 16-bit gray with alpha, and floats that are not one plane of 32 bits, to Pillow's table of TIFFs.

    Existing entries are not changed. Without the new entries, Pillow can open none of these files. With them,
    Pillow still decodes only gray floats of 64 bits.
    """
    table = cast(dict[_Kind, tuple[str, str]], TiffImagePlugin.OPEN_INFO)
    for order, letter in ((b"II", ""), (b"MM", "B")):
        kinds: dict[_Kind, tuple[str, str]] = {
            (order, gray, _FLOATS, 1, (64,), ()): ("F", f"F;64{letter}F") for gray in _GRAYS
        }
        for kind, mode in _kinds(order):
            kinds[kind] = (mode, _LEFT_TO_LIBVIPS)
        for kind, modes in kinds.items():
            table.setdefault(kind, modes)


def _kinds(order: bytes) -> Iterator[tuple[_Kind, str]]:
    """Yield kinds of 16-bit integers and of floats, each with the Pillow mode that has its channels."""
    for samples, bits in ((_INTEGERS, 16), (_FLOATS, 16), (_FLOATS, 32)):
        single = "F" if samples == _FLOATS else "I;16"
        shapes = [
            *((gray, 1, _NO_EXTRA, single) for gray in _GRAYS),
            *((gray, 2, _UNKNOWN, "L") for gray in _GRAYS),
            *((gray, 2, _ALPHA, "LA") for gray in _GRAYS),
            (_RGB, 3, _NO_EXTRA, "RGB"),
            (_RGB, 4, _UNKNOWN, "RGB"),
            (_RGB, 4, (*_NO_EXTRA, *_ALPHA), "RGBA"),
        ]
        for photometric, channels, extras, mode in shapes:
            for extra in extras:
                yield (order, photometric, samples, 1, (bits,) * channels, extra), mode
