import struct

import pytest

from esc_cli.media.video.signatures import is_webm, looks_like_clip


def box(brand: bytes) -> bytes:
    return struct.pack(">I4s4sI", 24, b"ftyp", brand, 0) + brand * 2


CLIPS = {
    "mp4": box(b"isom"),
    "mov": box(b"qt  "),
    "old mov": struct.pack(">I4s", 8, b"wide"),
    "matroska": b"\x1aE\xdf\xa3\x93\x42\x82\x88matroska",
    "y4m": b"YUV4MPEG2 W16 H16",
    "avi": b"RIFF\x00\x00\x00\x00AVI LIST",
    "mpeg-ts": (b"\x47" + bytes(187)) * 5,
    "m2ts": (bytes(4) + b"\x47" + bytes(187)) * 5,
    "flv": b"FLV\x01\x05",
}
OTHERS = {
    "avif": box(b"avif"),
    "avif sequence": box(b"avis"),
    "heic": box(b"heic"),
    "jpeg xl": struct.pack(">I4sI", 12, b"JXL ", 0x0D0A870A) + box(b"jxl "),
    "webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
    "png": b"\x89PNG\r\n\x1a\n",
    "a text with G": b"Good morning, dear reader" * 60,
    "nothing": b"",
}


@pytest.mark.parametrize("name", CLIPS)
def test_clips(name: str) -> None:
    assert looks_like_clip(CLIPS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_no_clips(name: str) -> None:
    assert not looks_like_clip(OTHERS[name])


def test_webm_is_told_from_matroska() -> None:
    assert is_webm(b"\x1aE\xdf\xa3\x9fB\x86\x81\x01\x42\x82\x84webm")
    assert not is_webm(CLIPS["matroska"])
