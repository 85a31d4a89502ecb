"""Read and write boxes, of which MP4, MOV, AVIF, JPEG XL and CR3 are made. Source: ISO/IEC 14496-12, 4.2."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO


@dataclass(frozen=True)
class Box:
    """A box and its place. No position lies beyond the end of what was read.

    Attributes:
        kind: Type of the box, four bytes.
        start: Position of its header.
        content_start: Position of its content, behind the header.
        end: Position behind its last byte.
        length: Its length in bytes, as the header states it; 0 means that it reaches to the end.
    """

    kind: bytes
    start: int
    content_start: int
    end: int
    length: int

    @property
    def content_bytes(self) -> int:
        """Size of the content, as far as it is there."""
        return self.end - self.content_start

    @property
    def is_cut(self) -> bool:
        """Whether the end comes before all of the box was read."""
        return self.length > self.end - self.start


def boxes_of(file: IO[bytes], start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Yield one box after another, with the file positioned at the content of each.

    A length that is shorter than its header, and fewer than 8 bytes, are no box and end the iteration. A box
    that is longer than what is there, or whose 64-bit length is incomplete, is cut, and it is the last one.

    Args:
        file: A file that can seek. It may be moved between two boxes.
        start: Position of the first box.
        end: Position at which the boxes end. None means the end of the file.

    Source: ISO/IEC 14496-12, 4.2. The length has 32 bits; 1 means that 64 bits follow the type.
    """
    size_bytes = file.seek(0, 2)
    end = size_bytes if end is None else min(end, size_bytes)
    while start + 8 <= end:
        file.seek(start)
        head = file.read(8)
        length, content_start = int.from_bytes(head[:4]), start + 8
        if length == 1:
            length, content_start = int.from_bytes(file.read(8).ljust(8, b"\xff")), min(start + 16, end)
        box_end = min(start + length, end) if length else end
        if box_end < content_start:
            return
        yield Box(head[4:], start, content_start, box_end, length)
        start = box_end


def packed_box(kind: bytes, content: bytes) -> bytes:
    """Return a box with a length of 32 bits."""
    return struct.pack(">I4s", 8 + len(content), kind) + content
