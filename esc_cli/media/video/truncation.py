"""Detection of truncated clips by the lengths in their headers, so that they are refused before any work."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from av import Packet, VideoStream
from av.container import InputContainer

_SEGMENT = b"\x18\x53\x80\x67"
"""The element that holds all of a Matroska file except its header. Source: RFC 9559, 5.1."""


_BOXES = frozenset(
    b"ftyp moov moof mfra mdat imda free skip wide uuid meta meco udta sidx ssix styp prft emsg pdin "
    b"pnot PICT junk".split()
)
"""Types of top-level boxes. Source: ISO/IEC 14496-12, table 1; QuickTime File Format, "Movie files"."""


class Counted:
    """A stream that cannot seek, such as a pipe, and that counts the bytes read from it.

    Attributes:
        size_bytes: Number of bytes read so far.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size_bytes = 0

    def read(self, size_bytes: int) -> bytes:
        """Read the next bytes; the result is empty at the end."""
        content = self._file.read(size_bytes)
        self.size_bytes += len(content)
        return content


def has_rest(container: InputContainer, last: "Packet[VideoStream]") -> bool:
    """Return whether a raw stream (YUV4MPEG2) has data after its last whole frame.

    FFmpeg drops a frame that is cut off.

    Args:
        container: An open PyAV container that has been read to its end.
        last: Last packet of the container.
    """
    if container.format.name != "yuv4mpegpipe":
        return False
    size_bytes = container.size if container.size >= 0 else container.file.file.size_bytes
    return last.pos is not None and last.pos + last.size < size_bytes


def ends_early(path: Path) -> bool:
    """Return whether a part of a file extends beyond the end of the file.

    MP4, MOV, Matroska, WebM and AVI state the lengths of their parts. Other containers cannot be checked.
    """
    with path.open("rb") as file:
        head = file.read(12)
        size_bytes = path.stat().st_size
        if head[4:8] == b"ftyp":
            ends: Iterator[int] = (end for _, _, end in boxes_of(file, size_bytes))
        elif head[:4] == b"\x1aE\xdf\xa3":
            ends = _element_ends(file)
        elif head[:4] == b"RIFF":
            ends = iter((8 + struct.unpack("<I", head[4:8])[0],))
        else:
            return False
        return any(end > size_bytes for end in ends)


def boxes_of(file: BinaryIO, size_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, start and end of each top-level box of an MP4 or MOV, up to bytes that are no box.

    A box with the length 0, which reaches to the end of the file, is left out. The last end may lie beyond
    the end of the file.

    Source: ISO/IEC 14496-12, 4.2.
    """
    start = 0
    while start + 8 <= size_bytes:
        file.seek(start)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or head[4:8] not in _BOXES:
            return
        yield head[4:8], start, start + length
        start += length


def _element_ends(file: BinaryIO) -> Iterator[int]:
    """Yield the ends of the header and the segment. Source: RFC 8794, 4 (variable-size integers) and 6."""
    start = 0
    for _ in range(2):
        file.seek(start)
        head = file.read(12)
        if start and head[:4] != _SEGMENT:
            return
        width = 9 - head[4].bit_length() if len(head) == 12 else 9
        if width > 8:
            return
        value = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if value == (1 << 7 * width) - 1:
            return  # all ones mean that the length is unknown, as in a live stream
        start += 4 + width + value
        yield start
