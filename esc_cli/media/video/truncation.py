"""Detection of truncated clips by the lengths in their headers, so that they are refused before any work."""

from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from av import Packet, VideoStream
from av.container import InputContainer

from esc_cli.media.iso_boxes import Box, boxes_of

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
        head, size_bytes = file.read(12), path.stat().st_size
        if head[4:8] == b"ftyp":
            return any(box.is_cut for box in boxes_of_clip(file))
        if head[:4] == b"\x1aE\xdf\xa3":
            return any(end > size_bytes for end in _element_ends(file))
        return head[:4] == b"RIFF" and 8 + int.from_bytes(head[4:8], "little") > size_bytes


def boxes_of_clip(file: BinaryIO) -> Iterator[Box]:
    """Return the top-level boxes of an MP4 or MOV, up to bytes that are no box."""
    return takewhile(lambda box: box.kind in _BOXES, boxes_of(file))


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
