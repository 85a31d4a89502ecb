"""JPEG, and the first picture of an MPO."""

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from esc_cli.media.formats.base import ALL_METADATA, PictureFormat
from esc_cli.media.metadata.blocks import Blocks, blocks_of_pillow
from esc_cli.media.metadata.iptc import LARGEST_IN_JPEG_BYTES, jpeg_segment

if TYPE_CHECKING:
    from esc_cli.media.picture import Metadata, Picture

EXIF_IN_JPEG = b"Exif\0\0"
XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
"""What EXIF and XMP begin with in a segment. Source: XMP specification part 3, 1.1.3."""

# Source: JPEG T.81 B.1.1.4: a segment's length has 16 bits and counts itself.
_LARGEST_SEGMENT_BYTES = 65_533

# Source: JFIF 1.02, the units of the density; 0 stands for an aspect ratio.
_JFIF_UNITS = (1, 2)


class Jpeg(PictureFormat):
    """JPEG.

    Source: the signature: T.81 B.1.1.3; the largest side: libjpeg-turbo's JPEG_MAX_DIMENSION, which is below
    the 65535 of the standard, and which Pillow reports as a "broken data stream".
    """

    name = "JPEG"
    extensions = (".jpg", ".jpeg", ".jpe", ".jfif")
    signature = rb"\xff\xd8\xff"
    alpha = False
    largest_side_px = 65_500
    lossy = True
    only_lossy = True
    holds = ALL_METADATA - {"text"}
    largest_part_bytes = MappingProxyType(
        {
            "exif": _LARGEST_SEGMENT_BYTES,
            "xmp": _LARGEST_SEGMENT_BYTES - len(XMP_IN_JPEG),
            "iptc": LARGEST_IN_JPEG_BYTES,
            "comment": _LARGEST_SEGMENT_BYTES,
        }
    )
    bytes_a_value = 0.08

    def jpeg_step(self, image: Image.Image) -> float:
        """Look at the first table, which is that of the luma."""
        from esc_cli.media.pixels.jpeg_traces import table_step

        if isinstance(image, JpegImageFile) and 0 in image.quantization:
            return table_step(image.quantization[0])
        return 0.0

    def blocks(self, image: Image.Image) -> Blocks:
        """Leave out the 72 dots an inch that Pillow gives to a file with EXIF and without a resolution."""
        return blocks_of_pillow(image, has_dpi=image.info.get("jfif_unit") in _JFIF_UNITS)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Ask for full color resolution."""
        return {"quality": quality or self.quality, "subsampling": "4:4:4"}

    def metadata_options(self, metadata: "Metadata") -> dict[str, Any]:
        """Add captions, which Pillow takes as a segment."""
        options = super().metadata_options(metadata)
        return options if metadata.iptc is None else {**options, "extra": jpeg_segment(metadata.iptc)}
