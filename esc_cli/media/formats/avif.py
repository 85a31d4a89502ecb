"""AVIF: Pillow encodes 8 bits; libvips encodes 10 and 12 bits.

libvips would drop EXIF tags that it does not know, so EXIF is inserted into its files afterwards.
"""

import io
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.ImageFile import ImageFile

from esc_cli.errors import OutputError
from esc_cli.media.formats import heic
from esc_cli.media.iso_boxes import Box, boxes_of, packed_box
from esc_cli.media.metadata.exif import EXIF_MARK
from esc_cli.media.pillow import PILLOW_ERRORS, Opened, is_deep_color_still

if TYPE_CHECKING:
    from esc_cli.media.metadata.kinds import Metadata
    from esc_cli.media.picture import AnimationTiming, Picture
    from esc_cli.media.pixels.depth import Pixels
    from esc_cli.media.probe import Probe
    from esc_cli.media.vips import Header

# On a page of text, effort 3 takes 0.35 s/MP for 58 kB, effort 4 takes 1.7 s for 54 kB, and Pillow's encoder
# takes 0.29 s for 56 kB in 8 bits.
_DEEP_OPTIONS = {"compression": "av1", "effort": 3, "subsample_mode": "off"}

_NO_TAGS = EXIF_MARK + b"II*\0\x08\0\0\0" + bytes(6)
"""The smallest EXIF block, used as a placeholder."""

_HEADER_BYTES = 65_536
_LARGEST_OFFSET = 2**32 - 1


class CroppedAvif(AvifImageFile):
    """An AVIF with a crop (clap), which Pillow ignores.

    libvips applies it, and then rotation and mirroring (irot, imir), so the size is upright.

    Source: ISO/IEC 23008-12 (HEIF), 6.5.9 (clap), 6.5.10 (irot), 6.5.12 (imir).
    """

    def _open(self) -> None:
        super()._open()
        header = _header(cast(IO[bytes], self.fp))
        self._size = header.width, header.height


class LenientAvif(ImageFile):
    """A still AVIF that Pillow refuses and browsers open, such as one whose alpha does not state its size.

    Pillow has no option for such files (libavif's strictFlags). libvips reads them.
    """

    format = "AVIF"
    _HAS_ALPHA = frozenset((2, 4))

    def _open(self) -> None:
        header = _header(cast(IO[bytes], self.fp))
        self._size = header.width, header.height
        self._mode = "RGBA" if header.channels in self._HAS_ALPHA else "RGB"
        self.info.update(header.metadata)


class Avif(heic.HeifFormat):
    """AVIF.

    Source: the size limits are the defaults of libavif's decoder, AVIF_DEFAULT_IMAGE_DIMENSION_LIMIT and
    AVIF_DEFAULT_IMAGE_SIZE_LIMIT. libavif encodes up to 65536 pixels per side, but neither Pillow nor
    browsers read such files.
    """

    name = "AVIF"
    extensions = (".avif",)
    shown_by_browsers = True
    # All files of the HEIF family except HEIC; Pillow looks closer.
    signature = rb"(?!" + heic.SIGNATURE + rb")....ftyp(avif|avis|mif1|msf1)"
    largest_side_px = 32_768
    largest_px = 16_384**2
    several = "frames"
    bytes_a_value = 0.035
    reading_memory = 7.5
    writing_memory = 18.0

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """Return True for gray with alpha, and for everything that libvips encodes."""
        return alpha or depth_bits > 8

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Yield the loss of the loop count, which Pillow neither reads nor writes."""
        if probe.several == "frames" and probe.format != self.name:
            yield "the loop count of the animation is not kept: AVIF animations play forever"

    def open(self, file: IO[bytes], name: str, largest_px: int) -> ImageFile:
        """Open a file, with libvips if it is a cropped still, or one that Pillow refuses."""
        try:
            image = super().open(file, name, largest_px)
        except PILLOW_ERRORS:
            if not _is_still(file):
                raise
            with suppress(ValueError, SyntaxError):
                file.seek(0)
                return LenientAvif(file, name)
            raise
        return _cropped(image, file, name)

    def reading_notes(self, opened: Opened) -> Iterator[str]:
        """Yield that an animation is not cropped, since only Pillow reads its frames, and only whole."""
        if getattr(opened.image, "n_frames", 1) > 1 and b"clap" in opened.header:
            yield "the crop of the animation is not applied"

    def orientation(self, image: Image.Image) -> int:
        """Return 1 for a picture that libvips reads, because it returns it upright."""
        return 1 if isinstance(image, _LEFT_TO_LIBVIPS) else super().orientation(image)

    def depth_bits(self, opened: Opened) -> int:
        """Read the bit depth from the file. Source: AV1-ISOBMFF 2.3.3 (av1C)."""
        configuration = re.search(rb"av1C..(.)", opened.header, re.DOTALL)
        flags = configuration[1][0] if configuration else 0
        if flags & 0x40:
            return 12 if flags & 0x20 else 10
        return 8

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Return whether the file is a still of more than 8 bits, or one that Pillow cannot read or crop.

        Pillow reduces stills to 8 bits. Animations are left to Pillow, because only Pillow composes them.
        """
        return isinstance(opened.image, _LEFT_TO_LIBVIPS) or is_deep_color_still(
            opened, self.depth_bits(opened)
        )

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with libvips, which stores the bits in the upper bits of 16 and applies the orientation."""
        from esc_cli.media import vips
        from esc_cli.media.pixels.depth import Pixels, from_integers

        bits, values = self.depth_bits(opened), vips.decode(source, "heifload_buffer", opened.name)
        if bits == 8:
            return Pixels(values[..., :1] if opened.image.mode == "L" else values)
        return from_integers(values >> (16 - bits), bits)

    def duration_ms(self, image: ImageFile) -> float:
        """Return the duration of the frame, which is known only after decoding."""
        image.load()
        return super().duration_ms(image)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode 8 bits with Pillow and more bits with libvips."""
        if len(pictures) > 1 or pictures[0].depth_bits == 8:
            return super().encode_pixels(pictures, timing, metadata, quality)
        return _encode_deep(pictures[0], quality or self.quality, metadata)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Return the quality and full chroma resolution."""
        # Pillow stores gray as luma only (4:0:0) unless a subsampling is set.
        sampling = {} if picture.gray else {"subsampling": "4:4:4"}
        return {"quality": quality or self.quality, **sampling}


_LEFT_TO_LIBVIPS = (CroppedAvif, LenientAvif)


def _is_still(file: IO[bytes]) -> bool:
    """Return whether no brand announces frames, which libvips does not read."""
    brands = next(boxes_of(file), None)
    return brands is None or b"avis" not in file.read(min(brands.content_bytes, _HEADER_BYTES))


def _cropped(image: ImageFile, file: IO[bytes], name: str) -> ImageFile:
    """Open a file again if it is a cropped still; an impossible crop is ignored, as in browsers."""
    file.seek(0)
    if getattr(image, "n_frames", 1) > 1 or b"clap" not in file.read(_HEADER_BYTES):
        return image
    try:
        header = _header(file)
    except ValueError:
        return image
    file.seek(0)
    smaller = header.width * header.height < image.width * image.height
    return CroppedAvif(file, name) if smaller else image


def _header(file: IO[bytes]) -> "Header":
    """Return the header after crop, rotation and mirroring; nothing is decoded."""
    from esc_cli.media import vips

    file.seek(0)
    return vips.header(file.read(), "heifload_buffer")


def _encode_deep(picture: "Picture", quality: int, metadata: "Metadata") -> bytes:
    """Encode 10 or 12 bits with full chroma resolution (4:4:4); gray becomes RGB."""
    from esc_cli.media import vips
    from esc_cli.media.formats.encoding import metadata_blocks, values_of
    from esc_cli.media.pixels.depth import quantized

    bits, blocks = picture.depth_bits, metadata_blocks(metadata)
    values = quantized(values_of(picture), bits) << (16 - bits)  # libvips stores the upper bits unchanged
    options = {**_DEEP_OPTIONS, "bitdepth": bits, "Q": quality}
    exif = blocks.get("exif")
    if exif is not None:
        blocks["exif"] = _NO_TAGS
    content = vips.encode(values, "heifsave_buffer", options, "AVIF", blocks)
    return content if exif is None else with_exif(content, exif)


def with_exif(avif: bytes, exif: bytes) -> bytes:
    """Replace the EXIF of an AVIF; the new EXIF is appended, and the old EXIF stays in the file unused.

    Args:
        avif: Content of a file that libheif wrote and that has some EXIF.
        exif: An EXIF block that begins with "Exif".

    Raises:
        OutputError: The file has no EXIF, is too large, or has another layout.

    Source:
        ISO 23008-12 (HEIF), A.2.1: the EXIF of an item follows the offset of its TIFF header.
    """
    block = bytes(4) + exif.removeprefix(EXIF_MARK)
    result = bytearray(avif + packed_box(b"mdat", block))
    start, place = len(result) - len(block), _place_of_exif(avif)
    if place is None or start > _LARGEST_OFFSET:
        raise OutputError("the picture cannot be written as AVIF together with its EXIF")
    struct.pack_into(">IHII", result, place, start, 1, 0, len(block))
    return bytes(result)


def _place_of_exif(avif: bytes) -> int | None:
    """Return the position of the fields with the offset and length of the EXIF; None if there are none.

    Source: ISO 14496-12, 8.11.3 (iloc) and 8.11.6 (iinf, infe). Both boxes begin with a version and then have
    an entry for each item. libheif writes item numbers with 16 bits, and offsets and lengths with 32 bits.
    """
    file = io.BytesIO(avif)
    metas = (box for box in boxes_of(file) if box.kind == b"meta")
    parts = {part.kind: part for meta in metas for part in boxes_of(file, meta.content_start + 4, meta.end)}
    if not {b"iloc", b"iinf"} <= parts.keys():
        return None
    places = parts[b"iloc"].content_start
    version, sizes, count = struct.unpack_from(">I2sH", avif, places)
    if (version, sizes) != (0, b"\x44\x40"):
        return None
    exif = _number_of_exif(avif, parts[b"iinf"])
    # An entry has the item number, data reference, base offset, number of extents, and the offset and length
    # of the only extent.
    entries = (places + 8 + 18 * index for index in range(count))
    return next((at + 4 for at in entries if struct.unpack_from(">H", avif, at)[0] == exif), None)


def _number_of_exif(avif: bytes, items: Box) -> int | None:
    for item in boxes_of(io.BytesIO(avif), items.content_start + 6, items.end):
        number, _protection, kind = struct.unpack_from(">HH4s", avif, item.content_start + 4)
        if kind == b"Exif":
            return int(number)
    return None
