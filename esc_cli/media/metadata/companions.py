"""Contents of a picture file besides pictures and metadata. They are not read, and this is said."""

import re
from collections.abc import Iterator
from typing import IO

GAIN_MAP = "the gain map was left out, so the result has no HDR"
VIDEO = "the video of a motion photo was left out"

# Source: Ultra HDR image format 1.1 (hdrgm, Container); Motion Photo format 1.0 (GCamera, Container).
_GAIN_MAP_IN_XMP = re.compile(rb"""\bhdrgm:Version\b|Item:Semantic\s*(?:=\s*["']|>)\s*GainMap""")
_VIDEO_IN_XMP = re.compile(
    rb"""Camera:(?:MicroVideo|MotionPhoto)\s*(?:=\s*["']|>)\s*1\b|"""
    rb"""Item:Semantic\s*(?:=\s*["']|>)\s*MotionPhoto"""
)

# Source: ISO 14496-12, 8.11.6 (infe: version, flags, number, protection, kind); ISO 23008-12, amendment 1
# (tmap); the auxiliary types of Apple, and of ISO 21496-1.
_GAIN_MAP_IN_HEIF = re.compile(
    rb"infe[\2\3].{3}(?:.{4}|.{6})tmap|urn:com:apple:photo:20\d\d:aux:hdrgainmap|urn:iso:std:iso:ts:21496:-1",
    re.DOTALL,
)

# Source: ExifTool, Samsung.pm (ProcessTrailer): the trailer ends with the size of its directory and a mark.
# The directory begins with a mark, a version and a count. An entry has a kind, an offset, and a size.
_TRAILER_MARK, _DIRECTORY_MARK, _VIDEO_KIND = b"SEFT", b"SEFH", b"\x30\x0a"
_ENTRY_BYTES = 12


def companions_of_xmp(packet: bytes | None) -> Iterator[str]:
    """Yield a sentence for each content that a packet announces in the same file."""
    if packet and _GAIN_MAP_IN_XMP.search(packet):
        yield GAIN_MAP
    if packet and _VIDEO_IN_XMP.search(packet):
        yield VIDEO


def companions_of_heif(header: bytes) -> Iterator[str]:
    """Yield a sentence for each content that the boxes at the beginning of a HEIC or AVIF announce."""
    if _GAIN_MAP_IN_HEIF.search(header):
        yield GAIN_MAP


def companions_behind(file: IO[bytes]) -> Iterator[str]:
    """Yield a sentence for each content that Samsung's cameras append to a file; keep the file's position."""
    here = file.tell()
    try:
        end = file.seek(0, 2)
        size = int.from_bytes(_tail(file, end, 8)[:4], "little")
        if _tail(file, end, 4) == _TRAILER_MARK and size <= end - 8:
            directory = _tail(file, end - 8, size)
            kinds = [directory[at + 2 : at + 4] for at in range(12, len(directory), _ENTRY_BYTES)]
            if directory.startswith(_DIRECTORY_MARK) and _VIDEO_KIND in kinds:
                yield VIDEO
    finally:
        file.seek(here)


def _tail(file: IO[bytes], end: int, size: int) -> bytes:
    file.seek(max(end - size, 0))
    return file.read(size)
