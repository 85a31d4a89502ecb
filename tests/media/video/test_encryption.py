"""Test that encrypted clips are refused before the work."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from esc_cli.errors import InputError
from esc_cli.media.video.clip import probe_clip
from esc_cli.media.video.encryption import is_encrypted
from esc_cli.media.video.reader import VideoReader

Maker = Callable[..., Path]

PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def box(kind: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + kind + content


def protection(codec: bytes) -> bytes:
    """Return the box of a protected sample entry. Source: ISO/IEC 23001-7, 4 and 8.2; 14496-12, 8.12."""
    track = box(b"tenc", bytes(6), b"\x01\x08", bytes(range(16)))
    scheme = box(b"schm", bytes(4), b"cenc", b"\0\1\0\0")
    return box(b"sinf", box(b"frma", codec), scheme, box(b"schi", track))


def protected(boxes: bytes) -> bytes:
    """Return the boxes of an MP4 with the sample entries of an encrypted one."""
    result, place = b"", 0
    while place < len(boxes):
        size_bytes, kind = struct.unpack(">I4s", boxes[place : place + 8])
        content = boxes[place + 8 : place + size_bytes]
        if kind in PARENTS:
            content = protected(content)
        if kind == b"stsd":
            entry = content[8:]
            content = content[:8] + box(b"encv", entry[8:], protection(entry[4:8]))
        result += box(kind, content)
        place += size_bytes
    return result


def element(id: str, content: bytes) -> bytes:
    return bytes.fromhex(id) + struct.pack(">Q", 1 << 56 | len(content)) + content


def with_encoding(clip: bytes, kind: int) -> bytes:
    """Return a Matroska file whose track has an encoding: 0 compresses, 1 encrypts.

    Source: RFC 9559, 5.1.4.1.31 (ContentEncodings); 5.1.4 (Tracks, whose first element is a checksum here).
    """
    how = b"\x50\x35\x84\x47\xe1\x81\x05" if kind else b"\x50\x34\x84\x42\x54\x81\x03"
    encodings = element("6d80", element("6240", b"\x50\x33\x81" + bytes([kind]) + how))
    start = clip.rindex(b"\x16\x54\xae\x6b") + 6
    end = start + (struct.unpack(">H", clip[start - 2 : start])[0] & 0x3FFF)
    entry = start + 6
    assert clip[entry : entry + 2] == b"\xae\x01"  # a length of eight bytes
    return (
        clip[: start - 6] + element("1654ae6b", element("ae", clip[entry + 9 : end] + encodings)) + clip[end:]
    )


def check(path: Path) -> None:
    for read in (probe_clip, VideoReader):
        with pytest.raises(InputError) as refused:
            read(path)
        assert refused.value.message == f"{path} is encrypted"
        assert refused.value.hint == "decrypt it first"


@pytest.mark.parametrize("name", ["a.mp4", "a.mov"])
def test_protected_sample_entries(make_clip: Maker, name: str) -> None:
    path = make_clip(name)
    content = path.read_bytes()
    assert content.index(b"mdat") < content.index(b"moov")  # offsets stay
    path.write_bytes(protected(content))
    check(path)


def test_an_index_to_the_end_of_the_file(make_clip: Maker) -> None:
    path = make_clip()
    content = protected(path.read_bytes())
    start = content.rindex(b"moov") - 4
    path.write_bytes(content[:start] + bytes(4) + content[start + 4 :])
    check(path)


def test_encrypted_tracks_of_matroska(make_clip: Maker) -> None:
    path = make_clip("a.mkv")
    content = path.read_bytes()
    path.write_bytes(with_encoding(content, 1))
    check(path)
    path.write_bytes(with_encoding(content, 0))
    assert not is_encrypted(path)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.avi"])
def test_other_clips_are_not_encrypted(make_clip: Maker, name: str) -> None:
    codec = "libvpx-vp9" if name.endswith("webm") else "mpeg4" if name.endswith("avi") else "libx264"
    assert probe_clip(make_clip(name, codec=codec)).codec in ("h264", "vp9", "mpeg4")
