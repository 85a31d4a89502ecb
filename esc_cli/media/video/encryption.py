"""Detection of encrypted clips, whose frames a decoder turns into gray or noise without an error."""

import re
from pathlib import Path

from esc_cli.media.video.truncation import boxes_of_clip

# Source: ISO/IEC 14496-12, 8.5.2 and 8.12 (an encrypted track has the sample entry `encv` or `enca`); `drmi`
# and `drms` are those of iTunes. The entry's size and the box's version and count are between.
_ENCRYPTED_ENTRY = re.compile(rb"stsd.{12}(?:encv|enca|drmi|drms)", re.DOTALL)

# Source: RFC 9559, 5.1.4 (Tracks) and 5.1.4.1.31.6 (ContentEncodingType, of which 1 means encryption).
_TRACKS = re.compile(rb"\x16\x54\xae\x6b(.{8})", re.DOTALL)
_ENCRYPTED_TRACK = b"\x50\x33\x81\x01"
_HEAD_BYTES = 1 << 20


def is_encrypted(path: Path) -> bool:
    """Return whether the header of an MP4, MOV, Matroska or WebM file says that a track is encrypted."""
    with path.open("rb") as file:
        for box in boxes_of_clip(file):
            if box.kind == b"moov":
                return _ENCRYPTED_ENTRY.search(file.read(box.content_bytes)) is not None
        file.seek(0)
        head = file.read(_HEAD_BYTES)
    return head[:4] == b"\x1aE\xdf\xa3" and _has_encrypted_track(head)


def _has_encrypted_track(head: bytes) -> bool:
    tracks = _TRACKS.search(head)
    if tracks is None:
        return False
    length = tracks[1]
    width = 9 - length[0].bit_length()
    size_bytes = int.from_bytes(length[:width], "big") & ((1 << 7 * width) - 1)
    start = tracks.start(1) + width
    return _ENCRYPTED_TRACK in head[start : start + size_bytes]
