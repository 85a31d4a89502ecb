"""AVIF: Pillow encodes 8 bits, libvips 10 and 12; libvips would drop the EXIF tags that it does not know."""

import re
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL.ImageFile import ImageFile

from esc_cli.errors import OutputError
from esc_cli.media.formats import heic
from esc_cli.media.formats.base import is_deep_color_still
from esc_cli.media.pillow import Opened

if TYPE_CHECKING:
    from esc_cli.media.picture import AnimationTiming, Metadata, Picture
    from esc_cli.media.pixels.depth import Pixels
    from esc_cli.media.probe import Probe

# Effort 3: 0.35 s/MP at 58 kB on a page of text; effort 4 takes 1.7 s for 54 kB, and Pillow's encoder, in 8
# bits, 0.29 s for 56 kB.
_DEEP_OPTIONS = {"compression": "av1", "effort": 3, "subsample_mode": "off"}

_NO_TAGS = b"Exif\0\0II*\0\x08\0\0\0" + bytes(6)
"""The smallest EXIF, which only holds a place."""

_BOX = struct.Struct(">I4s")
_LARGEST_OFFSET = 2**32 - 1


class Avif(heic.HeifFormat):
    """AVIF.

    Source: the limits: the defaults of libavif's decoder, AVIF_DEFAULT_IMAGE_DIMENSION_LIMIT and
    AVIF_DEFAULT_IMAGE_SIZE_LIMIT; it encodes up to 65536 a side, but neither Pillow nor browsers read that.
    """

    name = "AVIF"
    extensions = (".avif",)
    # Of the HEIF family, all that is not HEIC: Pillow looks closer.
    signature = rb"(?!" + heic.SIGNATURE + rb")....ftyp(avif|avis|mif1|msf1)"
    largest_side_px = 32_768
    largest_px = 16_384**2
    several = "frames"
    bytes_a_value = 0.035

    def stores_gray_as_rgb(self, *, alpha: bool, depth_bits: int) -> bool:
        """Gray with alpha is, and all that libvips encodes."""
        return alpha or depth_bits > 8

    def limitations(self, probe: "Probe") -> Iterator[str]:
        """Tell that Pillow neither reads nor writes how often an animation is played."""
        if probe.several == "frames" and probe.format != self.name:
            yield "how often the animation is played: AVIF is played for ever"

    def depth_bits(self, opened: Opened) -> int:
        """Read it from the file. Source: AV1-ISOBMFF 2.3.3 (av1C)."""
        configuration = re.search(rb"av1C..(.)", opened.header, re.DOTALL)
        flags = configuration[1][0] if configuration else 0
        if flags & 0x40:
            return 12 if flags & 0x20 else 10
        return 8

    def is_too_deep_for_pillow(self, opened: Opened) -> bool:
        """Pillow cuts all but animations, which only it composes."""
        return is_deep_color_still(opened, self.depth_bits(opened))

    def decode_deep(self, opened: Opened, source: Path | bytes, page: int) -> "Pixels":
        """Decode with libvips, which gives the bits as the upper ones of 16, and turns the picture."""
        from esc_cli.media import vips
        from esc_cli.media.pixels.depth import from_integers

        bits = self.depth_bits(opened)
        return from_integers(vips.decode(source, "heifload_buffer", opened.name) >> (16 - bits), bits)

    def duration_ms(self, image: ImageFile) -> float:
        """Decode the frame, before which it is not known."""
        image.load()
        return super().duration_ms(image)

    def encode_pixels(
        self,
        pictures: "Sequence[Picture]",
        timing: "AnimationTiming | None",
        metadata: "Metadata",
        quality: int | None,
    ) -> bytes:
        """Encode 8 bits with Pillow, more with libvips."""
        if len(pictures) > 1 or pictures[0].depth_bits == 8:
            return super().encode_pixels(pictures, timing, metadata, quality)
        return _encode_deep(pictures[0], quality or self.quality, metadata)

    def pixel_options(self, picture: "Picture", quality: int | None) -> dict[str, Any]:
        """Ask for full color resolution."""
        # Pillow stores gray as luma alone (4:0:0) unless it is told a sampling.
        sampling = {} if picture.gray else {"subsampling": "4:4:4"}
        return {"quality": quality or self.quality, **sampling}


def _encode_deep(picture: "Picture", quality: int, metadata: "Metadata") -> bytes:
    """Encode 10 or 12 bits with full color resolution (4:4:4); gray becomes equal colors."""
    from esc_cli.media import vips
    from esc_cli.media.formats.encoding import metadata_blocks, values_of
    from esc_cli.media.pixels.depth import quantized

    bits, blocks = picture.depth_bits, metadata_blocks(metadata)
    values = quantized(values_of(picture), bits) << (16 - bits)  # libvips takes the upper bits as they are
    options = {**_DEEP_OPTIONS, "bitdepth": bits, "Q": quality}
    exif = blocks.get("exif")
    if exif is not None:
        blocks["exif"] = _NO_TAGS
    content = vips.encode(values, "heifsave_buffer", options, "AVIF", blocks)
    return content if exif is None else with_exif(content, exif)


def with_exif(avif: bytes, exif: bytes) -> bytes:
    """Replace the EXIF of an AVIF: the new one goes behind everything, and the old one stays unused.

    Args:
        avif: Written by libheif, with some EXIF.
        exif: A block that begins with "Exif".

    Raises:
        OutputError: There is no EXIF in it, or it is too large or laid out otherwise.

    Source:
        ISO 23008-12 (HEIF), A.2.1: the EXIF of an item comes after the offset of its TIFF header.
    """
    block = bytes(4) + exif.removeprefix(b"Exif\0\0")
    start = len(avif) + _BOX.size
    place = _place_of_exif(avif)
    if place is None or start > _LARGEST_OFFSET:
        raise OutputError("the picture and its EXIF cannot be written as AVIF together")
    result = bytearray(avif)
    struct.pack_into(">IHII", result, place, start, 1, 0, len(block))
    return bytes(result) + _BOX.pack(_BOX.size + len(block), b"mdat") + block


def _place_of_exif(avif: bytes) -> int | None:
    """Where the file says at what offset, and how long, its EXIF is.

    Source: ISO 14496-12, 8.11.3 (iloc) and 8.11.6 (iinf, infe): both begin with a version, and then have an
    entry for each item. As libheif writes them, numbers of items have 16 bits, offsets and lengths 32.
    """
    file = dict(_boxes(avif, 0, len(avif)))
    meta = file.get(b"meta")
    parts = {} if meta is None else dict(_boxes(avif, meta.start + 4, meta.stop))
    if not {b"iloc", b"iinf"} <= parts.keys():
        return None
    places = parts[b"iloc"].start
    version, sizes, count = struct.unpack_from(">I2sH", avif, places)
    if (version, sizes) != (0, b"\x44\x40"):
        return None
    exif = _number_of_exif(avif, parts[b"iinf"])
    # An entry: number, reference, base offset, how many pieces there are, offset and length of the only one.
    entries = (places + 8 + 18 * index for index in range(count))
    return next((at + 4 for at in entries if struct.unpack_from(">H", avif, at)[0] == exif), None)


def _number_of_exif(avif: bytes, items: range) -> int | None:
    for _name, item in _boxes(avif, items.start + 6, items.stop):
        number, _protection, kind = struct.unpack_from(">HH4s", avif, item.start + 4)
        if kind == b"Exif":
            return int(number)
    return None


def _boxes(content: bytes, position: int, end: int) -> Iterator[tuple[bytes, range]]:
    """Names of the boxes between two positions, and where their contents are."""
    while position + _BOX.size <= end:
        size, name = _BOX.unpack_from(content, position)
        yield name, range(position + _BOX.size, position + size)
        position += max(size, _BOX.size)
