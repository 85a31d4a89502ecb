"""EXIF put into an AVIF as it is: libvips would write it anew, without the tags that it does not know."""

import struct
from collections.abc import Iterator

from esc_cli.errors import OutputError

_BOX = struct.Struct(">I4s")
_LARGEST_OFFSET = 2**32 - 1


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
