"""What Pillow leaves out of a PNG: checksums of the pixels, and EXIF that comes behind them."""

import struct
import zlib
from collections.abc import Iterator
from typing import IO, cast

_SIGNATURE_BYTES = 8


def exif_chunk(file: IO[bytes]) -> bytes | None:
    """The EXIF of a PNG, wherever it stands in the file, which is left where it was read."""
    here = file.tell()
    try:
        return next((file.read(length) for name, length in _chunks(file) if name == b"eXIf"), None)
    finally:
        file.seek(here)


def pixels_are_intact(file: IO[bytes]) -> bool:
    """Whether the checksums of a PNG's pixels are right, which Pillow reads and throws away.

    Without this, a picture with a broken stretch in it would pass for a good one. The file is left where it
    was read.
    """
    here = file.tell()
    try:
        return all(_is_intact(file, name, length) for name, length in _chunks(file) if name == b"IDAT")
    finally:
        file.seek(here)


def _is_intact(file: IO[bytes], name: bytes, length: int) -> bool:
    """Source: PNG 5.5: the CRC is of the chunk's name and data."""
    computed = zlib.crc32(file.read(length), zlib.crc32(name)).to_bytes(4, "big")
    return file.read(4) in (computed, b"")  # a file which ends here is called incomplete by Pillow


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, int]]:
    """Names and lengths of a PNG's chunks, the file standing at each one's data. Source: PNG 5.3."""
    position = _SIGNATURE_BYTES
    file.seek(position)
    while len(head := file.read(8)) == 8:
        length, name = cast(tuple[int, bytes], struct.unpack(">I4s", head))
        yield name, length
        position += length + 12
        file.seek(position)
