"""JPEG, including the first picture of an MPO."""

from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from esc_cli.errors import DamageError
from esc_cli.media.formats.base import PictureFormat, share_undecoded_by_pillow
from esc_cli.media.metadata.iptc import LARGEST_IN_JPEG_BYTES, jpeg_segment
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.metadata.pillow_metadata import metadata_of_pillow
from esc_cli.media.pillow import Opened

if TYPE_CHECKING:
    from esc_cli.media.picture import Picture

EXIF_IN_JPEG = b"Exif\0\0"
XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
"""Prefixes of EXIF and XMP in a JPEG segment. Source: XMP specification part 3, 1.1.3."""

# Source: JPEG T.81 B.1.1.4: a segment's length has 16 bits and includes the length field itself.
_LARGEST_SEGMENT_BYTES = 65_533

# Source: JFIF 1.02, units of the density; 0 means that the density is an aspect ratio.
_JFIF_UNITS = (1, 2)


_BLOCK_PX = 16
"""The largest usual height of the blocks that are decoded at once. Source: JPEG T.81, A.2.4."""

_END = b"\xff\xd9"
"""The marker of the end. Source: JPEG T.81, B.1.1.3."""

# Source: jerror.h of libjpeg. Its other warnings do not concern pixels, such as "extraneous bytes".
_DAMAGE = ("premature end", "bad Huffman code", "bad arithmetic code", "instead of RST")


class Jpeg(PictureFormat):
    """JPEG.

    Source: T.81 B.1.1.3 for the signature, and libjpeg-turbo's JPEG_MAX_DIMENSION for the largest side. This
    limit is below the 65535 of the standard. Pillow reports larger sides as a "broken data stream".
    """

    name = "JPEG"
    extensions = (".jpg", ".jpeg", ".jpe", ".jfif")
    signature = rb"\xff\xd8\xff"
    alpha = False
    largest_side_px = 65_500
    lossy = True
    only_lossy = True
    holds = frozenset(("icc_profile", "exif", "xmp", "iptc", "dpi", "comment"))
    largest_part_bytes = MappingProxyType(
        {
            "exif": _LARGEST_SEGMENT_BYTES,
            "xmp": _LARGEST_SEGMENT_BYTES - len(XMP_IN_JPEG),
            "iptc": LARGEST_IN_JPEG_BYTES,
            "comment": _LARGEST_SEGMENT_BYTES,
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
        share = share_undecoded_by_pillow(self, opened, content.rpartition(_END)[0] or content)
        return share if share * opened.image.height > _BLOCK_PX else 0.0

    def jpeg_step(self, image: Image.Image) -> float:
        """Return the step of the first quantization table, which is the table of the luma."""
        from esc_cli.media.pixels.jpeg_traces import table_step

        if isinstance(image, JpegImageFile) and 0 in image.quantization:
            return table_step(image.quantization[0])
        return 0.0

    def stored_metadata(self, image: Image.Image) -> Metadata:
        """Leave out the 72 dpi that Pillow reports for a file with EXIF and without a resolution."""
        return metadata_of_pillow(image, has_dpi=image.info.get("jfif_unit") in _JFIF_UNITS)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return the quality and full chroma resolution."""
        return {"quality": quality or self.quality, "subsampling": "4:4:4"}

    def metadata_options(self, metadata: Metadata) -> dict[str, Any]:
        """Add captions (IPTC), which Pillow takes as a segment."""
        options = super().metadata_options(metadata)
        return options if metadata.iptc is None else {**options, "extra": jpeg_segment(metadata.iptc)}


def _content(file: IO[bytes]) -> bytes:
    """Return the content of a file, and restore its position."""
    here = file.tell()
    try:
        file.seek(0)
        return file.read()
    finally:
        file.seek(here)
