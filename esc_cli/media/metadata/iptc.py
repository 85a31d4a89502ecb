"""IPTC captions: add and remove the wrapping of the formats that hold them."""

import struct
from collections.abc import Iterator
from typing import cast

from esc_cli.media.metadata.jpeg_segments import LARGEST_CONTENT_BYTES, segment

# Source: Adobe Photoshop File Formats, "Image Resource Blocks"; resource 1028 holds the IPTC-NAA record.
IPTC_RESOURCE = 0x0404
_SIGNATURE = b"8BIM"
_PHOTOSHOP = b"Photoshop 3.0\0"

# Source: IPTC-IIM 4.2, 1.6: a stream begins with the tag marker.
_MARKER = b"\x1c"
_DATA_SET_HEAD_BYTES = 5
_EXTENDED = 0x8000

_APP13 = b"\xff\xed"
_RESOURCE_HEAD_BYTES = 12

LARGEST_IN_JPEG_BYTES = LARGEST_CONTENT_BYTES - len(_PHOTOSHOP) - _RESOURCE_HEAD_BYTES - 1
"""The largest stream that fits in a JPEG segment. The last byte is for padding to an even size."""


def iptc_of_stream(stream: bytes) -> bytes | None:
    """Return captions as they are in memory, without padding; None if there are none.

    A TIFF tag may hold them as 32-bit integers, in the byte order of the machine that wrote the file.
    """
    if stream[3:4] == _MARKER and stream[:1] != _MARKER:
        stream = b"".join(stream[at : at + 4][::-1] for at in range(0, len(stream), 4))
    return stream[: _end_of(stream)] or None


def iptc_of_resources(data: bytes) -> bytes | None:
    """Find captions among Photoshop's resources; data without this wrapping is taken as captions."""
    data = data.removeprefix(_PHOTOSHOP)
    if not data.startswith(_SIGNATURE):
        return iptc_of_stream(data)
    return next((iptc_of_stream(found) for code, found in _resources(data) if code == IPTC_RESOURCE), None)


def resource(iptc: bytes) -> bytes:
    """Wrap captions as a Photoshop resource, without a name and padded to an even size."""
    return _SIGNATURE + struct.pack(">HHI", IPTC_RESOURCE, 0, len(iptc)) + iptc + bytes(len(iptc) % 2)


def jpeg_segment(iptc: bytes) -> bytes:
    """Return the JPEG segment that holds captions.

    Args:
        iptc: Captions of at most `LARGEST_IN_JPEG_BYTES`.
    """
    return segment(_APP13, _PHOTOSHOP + resource(iptc))


def _resources(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and contents of resources, as far as they are complete."""
    at = 0
    while data[at : at + 4] == _SIGNATURE and len(data) >= at + _RESOURCE_HEAD_BYTES:
        code, name_bytes = cast(tuple[int, int], struct.unpack_from(">HB", data, at + 4))
        at += 6 + (name_bytes + 2) // 2 * 2  # the length and the name are padded to an even size
        size = int.from_bytes(data[at : at + 4], "big")
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + (size + 1) // 2 * 2


def _end_of(stream: bytes) -> int:
    """Return the end of the last complete data set.

    Source: IPTC-IIM 4.2, 1.6 (standard and extended data sets).
    """
    at = 0
    while stream[at : at + 1] == _MARKER and len(stream) >= at + _DATA_SET_HEAD_BYTES:
        size, head = int.from_bytes(stream[at + 3 : at + 5], "big"), _DATA_SET_HEAD_BYTES
        if size & _EXTENDED:
            head += size ^ _EXTENDED
            size = int.from_bytes(stream[at + _DATA_SET_HEAD_BYTES : at + head], "big")
        if at + head + size > len(stream):
            break
        at += head + size
    return at
