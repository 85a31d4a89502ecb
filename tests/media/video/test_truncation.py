from pathlib import Path

import pytest

from esc_cli.media.video.truncation import ends_early


@pytest.mark.parametrize("length", [16, 23, 24, 1000])
def test_a_box_longer_than_the_file(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + length.to_bytes(4, "big") + b"mdat")
    assert ends_early(path) == (length > 8)


@pytest.mark.parametrize("rest", [b"\n", bytes(7), bytes(8), b"hello, world", b"\xff" * 40, b"1234" * 5])
def test_stray_bytes_behind_the_last_box(tmp_path: Path, rest: bytes) -> None:
    path = tmp_path / "a.mp4"
    boxes = b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00" + b"\x00\x00\x00\x0cmdat1234"
    path.write_bytes(boxes + rest)
    assert not ends_early(path)
    path.write_bytes(boxes + b"\x00\x00\x10\x00moov")
    assert ends_early(path)


def test_a_box_of_64_bits_and_one_to_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    head = b"\x00\x00\x00\x10ftypisom\x00\x00\x00\x00"
    path.write_bytes(head + b"\x00\x00\x00\x01mdat" + (20).to_bytes(8, "big") + bytes(4))
    assert not ends_early(path)
    path.write_bytes(head + b"\x00\x00\x00\x01mdat" + (2**33).to_bytes(8, "big") + bytes(4))
    assert ends_early(path)
    path.write_bytes(head + b"\x00\x00\x00\x00mdat" + bytes(40))
    assert not ends_early(path)
    path.write_bytes(head + b"\x00\x00\x00\x01mdat" + bytes(5))
    assert ends_early(path)


def test_a_segment_of_matroska(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    header = b"\x1aE\xdf\xa3\x84" + bytes(4)
    for size, early in ((b"\x8a", False), (b"\x8b", True), (b"\x40\x0a", True), (b"\x40\x09", False)):
        path.write_bytes(header + b"\x18\x53\x80\x67" + size + bytes(10 - len(size) + 1))
        assert ends_early(path) == early, size
    path.write_bytes(header + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + bytes(10))
    assert not ends_early(path)


def test_other_files_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.ts"
    path.write_bytes(b"\x47" + bytes(500))
    assert not ends_early(path)


def test_a_file_that_ends_within_the_length_of_riff(tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF\x10")
    assert ends_early(path)
