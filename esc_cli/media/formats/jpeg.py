"""JPEG, including the first picture of an MPO."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from esc_cli.errors import DamageError
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.metadata.companions import GAIN_MAP, companions_behind
from esc_cli.media.metadata.exif import EXIF_MARK, exif_dpi
from esc_cli.media.metadata.extended_xmp import fits_in_jpeg, xmp_of_segments, xmp_segments
from esc_cli.media.metadata.iptc import LARGEST_IN_JPEG_BYTES, jpeg_segment
from esc_cli.media.metadata.jpeg_segments import LARGEST_CONTENT_BYTES
from esc_cli.media.metadata.kinds import Held, Metadata
from esc_cli.media.metadata.pillow_metadata import metadata_of_pillow
from esc_cli.media.pillow import Opened

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture

_TIFF_MARKS = (b"II*\0", b"MM\0*")

_ISO_GAIN_MAP = b"urn:iso:std:iso:ts:21496:-1\0"
"""Prefix of a gain map's description in an APP2 segment. Source: ISO 21496-1, annex C."""

# Source: JFIF 1.02, units of the density; 0 means that the density is an aspect ratio.
_JFIF_UNITS = (1, 2)

_DEFAULT_DPI = frozenset((72, 71))
"""The resolution of many files that have none: 72 dots per inch, or 28 per centimeter."""


_BLOCK_PX = 16
"""The largest usual height of the blocks that are decoded at once. Source: JPEG T.81, A.2.4."""

_END = b"\xff\xd9"
"""The marker of the end. Source: JPEG T.81, B.1.1.3."""

# Source: JPEG T.81, table B.1.
_ARITHMETIC_FRAMES = frozenset((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF))
_FRAMES = frozenset((0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7)) | _ARITHMETIC_FRAMES

# Source: jerror.h of libjpeg. Its other warnings do not concern pixels, such as "extraneous bytes".
_DAMAGE = ("premature end", "bad Huffman code", "bad arithmetic code", "instead of RST")


class Jpeg(PictureFormat):
    """JPEG.

    Source: T.81 B.1.1.3 for the signature, and libjpeg-turbo's JPEG_MAX_DIMENSION for the largest side. This
    limit is below the 65535 of the standard. Pillow reports larger sides as a "broken data stream".
    """

    name = "JPEG"
    extensions = (".jpg", ".jpeg", ".jpe", ".jfif")
    shown_by_browsers = True
    signature = rb"\xff\xd8\xff"
    alpha = False
    largest_side_px = 65_500
    lossy = True
    only_lossy = True
    holds = frozenset(("icc_profile", "exif", "xmp", "iptc", "dpi", "comment"))
    largest_part_bytes = MappingProxyType(
        {
            "exif": LARGEST_CONTENT_BYTES,
            "iptc": LARGEST_IN_JPEG_BYTES,
            "comment": LARGEST_CONTENT_BYTES,
        }
    )
    bytes_a_value = 0.08

    def check(self, opened: Opened) -> None:
        """Refuse a file of whose pixels libjpeg warns.

        It invents missing pixels, and Pillow ignores its warnings. This takes 6 ms/MP. Damage in the last 8
        rows is not found, because libvips asks for warnings before it decodes 8 rows.
        """
        from esc_cli.media import vips

        stream = opened.image.fp
        if stream is not None and vips.warning(_content(stream), "jpegload_buffer", _DAMAGE):
            raise DamageError(f"{opened.name} is damaged or incomplete")

    def missing_share(self, opened: Opened, content: bytes) -> float | None:
        """Decode without the marker of the end, at which libjpeg would invent pixels.

        The rows of a progressive picture do not come one after the other. Without the marker, the last
        block of rows is never decoded.
        """
        if opened.image.info.get("progressive"):
            return None
        share = self.undecoded_share(opened, content.rpartition(_END)[0] or content)
        return share if share * opened.image.height > _BLOCK_PX else 0.0

    def jpeg_step(self, image: Image.Image) -> float:
        """Return the step of the first quantization table, which is the table of the luma."""
        from esc_cli.media.pixels.jpeg_traces import table_step

        if isinstance(image, JpegImageFile) and 0 in image.quantization:
            return table_step(image.quantization[0])
        return 0.0

    def is_shown_by_browsers(self, image: ImageFile) -> bool:
        """Return whether the coding is Huffman's.

        Browsers come with libraries that leave arithmetic coding out. Only those that use the system's, as
        Debian's Chromium does, show it.
        """
        return image.fp is None or not _is_arithmetic(image.fp)

    def companions(self, opened: Opened) -> Iterator[str]:
        """Add the gain map of ISO 21496-1, what follows the picture, and the rest of XMP if it is damaged."""
        found = list(super().companions(opened))
        if any(content.startswith(_ISO_GAIN_MAP) for content in _segments(opened.image, "APP2")):
            found.append(GAIN_MAP)
        if opened.image.fp is not None:
            found += companions_behind(opened.image.fp)
        if xmp_of_segments(_segments(opened.image, "APP1"))[1]:
            found.append("a part of XMP was left out, since it is damaged or incomplete")
        return iter(dict.fromkeys(found))

    def can_write(self, part: Held, content: Any) -> bool:
        """Return whether a part fits in a segment; XMP may be divided."""
        return fits_in_jpeg(content) if part == "xmp" else super().can_write(part, content)

    def stored_metadata(self, image: Image.Image) -> Metadata:
        """Add the extension of XMP.

        Leave out the 72 dpi that Pillow reports for a file with EXIF and without a resolution, and those that
        programs write into JFIF although EXIF has another resolution.
        """
        metadata = metadata_of_pillow(image, has_dpi=image.info.get("jfif_unit") in _JFIF_UNITS)
        xmp, _is_damaged = xmp_of_segments(_segments(image, "APP1"))
        is_default = metadata.dpi is not None and {round(value) for value in metadata.dpi} <= _DEFAULT_DPI
        dpi = _exif_dpi(metadata.exif) if is_default and metadata.exif else None
        exif = _exif_of_segments(_segments(image, "APP1")) or metadata.exif
        return replace(metadata, exif=exif, xmp=xmp or metadata.xmp, dpi=dpi or metadata.dpi)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return the quality and full chroma resolution."""
        return {"quality": quality or self.quality, "subsampling": "4:4:4"}

    def metadata_options(self, metadata: Metadata) -> dict[str, Any]:
        """Add XMP of any size, and captions (IPTC), which Pillow takes as segments."""
        options = super().metadata_options(replace(metadata, xmp=None))
        xmp = b"" if metadata.xmp is None else xmp_segments(metadata.xmp)
        iptc = b"" if metadata.iptc is None else jpeg_segment(metadata.iptc)
        return {**options, "extra": xmp + iptc}


def _exif_of_segments(contents: list[bytes]) -> bytes | None:
    """Return EXIF, which some cameras divide among segments, but not a second block as Pillow does."""
    blocks = [content.removeprefix(EXIF_MARK) for content in contents if content.startswith(EXIF_MARK)]
    parts = [block for number, block in enumerate(blocks) if not (number and block.startswith(_TIFF_MARKS))]
    return EXIF_MARK + b"".join(parts) if parts else None


def _exif_dpi(exif: bytes) -> tuple[float, float] | None:
    """Return the resolution in EXIF; None if EXIF is damaged, or has none or 1, which means unknown."""
    try:
        dpi = exif_dpi(exif)
    except ValueError:
        return None
    return dpi if dpi is not None and min(dpi) > 1 else None


def _segments(image: Image.Image, name: str) -> list[bytes]:
    """Return the contents of a JPEG's segments of a kind; an image in memory has none."""
    return [content for kind, content in getattr(image, "applist", ()) if kind == name]


def _content(file: IO[bytes]) -> bytes:
    """Return the content of a file, and restore its position."""
    with _from_the_beginning(file):
        return file.read()


def _is_arithmetic(file: IO[bytes]) -> bool:
    """Return whether the first frame header is one of arithmetic coding."""
    with _from_the_beginning(file):
        file.seek(2)
        while len(head := file.read(4)) == 4 and head[0] == 0xFF and head[1] not in _FRAMES:
            is_filled = head[1] == 0xFF  # bytes that may precede a marker
            file.seek(-3 if is_filled else int.from_bytes(head[2:], "big") - 2, os.SEEK_CUR)
        return len(head) == 4 and head[0] == 0xFF and head[1] in _ARITHMETIC_FRAMES


@contextmanager
def _from_the_beginning(file: IO[bytes]) -> Iterator[None]:
    here = file.tell()
    try:
        file.seek(0)
        yield
    finally:
        file.seek(here)
