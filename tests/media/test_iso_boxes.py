import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.media.iso_boxes import Box, boxes_of, packed_box

WIDE = struct.pack(">I4sQ", 1, b"mdat", 20) + b"wide"


def found(content: bytes, start: int = 0, end: int | None = None) -> list[Box]:
    return list(boxes_of(io.BytesIO(content), start, end))


def parts(content: bytes) -> list[tuple[bytes, bytes]]:
    return [(box.kind, content[box.content_start : box.end]) for box in found(content)]


def test_places_of_boxes() -> None:
    content = b"\0\0\0\x0cftypisom" + b"\0\0\0\x08free" + WIDE
    ordinary, empty, wide = found(content)
    assert ordinary == Box(b"ftyp", start=0, content_start=8, end=12, length=12)
    assert empty == Box(b"free", start=12, content_start=20, end=20, length=8)
    assert wide == Box(b"mdat", start=20, content_start=36, end=40, length=20)
    assert [box.content_bytes for box in (ordinary, empty, wide)] == [4, 0, 4]
    assert not any(box.is_cut for box in (ordinary, empty, wide))


def test_a_length_of_0_reaches_to_the_end() -> None:
    first, last = found(WIDE + b"\0\0\0\0mdat" + b"\0\0\0\x08free")
    assert (first.end, last.kind, last.content_bytes, last.length, last.is_cut) == (20, b"mdat", 8, 0, False)


@pytest.mark.parametrize("length", [2, 7])
def test_a_length_shorter_than_its_header_ends_the_boxes(length: int) -> None:
    assert [box.kind for box in found(WIDE + struct.pack(">I4s", length, b"free") + WIDE)] == [b"mdat"]


@pytest.mark.parametrize("length", [1, 8, 15])
def test_a_64_bit_length_shorter_than_its_header_ends_the_boxes(length: int) -> None:
    assert [box.kind for box in found(WIDE + struct.pack(">I4sQ", 1, b"free", length) + WIDE)] == [b"mdat"]


@pytest.mark.parametrize(
    "head",
    [
        struct.pack(">I4s", 17, b"moov"),
        struct.pack(">I4s", 2**32 - 1, b"moov"),
        struct.pack(">I4sQ", 1, b"moov", 25),
        struct.pack(">I4sQ", 1, b"moov", 2**64 - 1),
    ],
)
def test_a_box_beyond_the_end_is_cut(head: bytes) -> None:
    first, last = found(WIDE + head + b"12345678")
    assert (first.is_cut, last.kind, last.is_cut) == (False, b"moov", True)
    assert (last.end, last.content_bytes) == (len(WIDE + head) + 8, 8)


@pytest.mark.parametrize("count", range(8))
def test_a_box_is_cut_within_its_64_bit_length(count: int) -> None:
    (box,) = found(WIDE[: 8 + count])
    assert (box.kind, box.content_bytes, box.is_cut) == (b"mdat", 0, True)


@pytest.mark.parametrize("count", range(8))
def test_the_rest_of_a_header_is_no_box(count: int) -> None:
    assert found(WIDE[:count]) == []
    assert len(found(WIDE + WIDE[:count])) == 1


def test_boxes_between_two_positions() -> None:
    content = packed_box(b"meta", bytes(4) + packed_box(b"hdlr", b"mdir") + WIDE) + packed_box(b"free", b"")
    meta, _ = found(content)
    handler, wide = found(content, meta.content_start + 4, meta.end)
    assert (handler.kind, wide.kind, wide.end) == (b"hdlr", b"mdat", meta.end)
    longer = packed_box(b"meta", struct.pack(">I4s", 16, b"hdlr")) + packed_box(b"free", b"")
    (cut,) = found(longer, 8, 16)
    assert (cut.is_cut, cut.end) == (True, 16)
    assert found(content, 0, 2**40) == found(content)


def test_the_file_is_at_the_content_and_may_be_moved() -> None:
    file = io.BytesIO(packed_box(b"ftyp", b"isom") + WIDE + b"\0\0\0\0freeto the end")
    contents = []
    for box in boxes_of(file):
        contents.append(file.read(box.content_bytes))
        file.seek(0)
    assert contents == [b"isom", b"wide", b"to the end"]


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.binary(max_size=40))))
def test_boxes_are_read_as_they_were_written(boxes: list[tuple[bytes, bytes]]) -> None:
    assert parts(b"".join(packed_box(kind, content) for kind, content in boxes)) == boxes


NUMBERS = st.integers(0, 40) | st.integers(0, 2**32 - 1)
HEADERS = st.tuples(NUMBERS, NUMBERS, NUMBERS).map(lambda numbers: struct.pack(">3I", *numbers))
CONTENTS = st.lists(HEADERS | st.binary(max_size=20)).map(b"".join)


@given(CONTENTS, st.integers(0, 60), st.none() | st.integers(0, 200))
def test_arbitrary_bytes(content: bytes, start: int, end: int | None) -> None:
    boxes = found(content, start, end)
    place, limit = start, len(content) if end is None else min(end, len(content))
    for box in boxes:
        assert (box.start, box.kind) == (place, content[place + 4 : place + 8])
        assert place + 8 <= box.content_start <= box.end <= limit
        assert box.length == 0 or box.length >= box.end - box.start
        place = box.end
    assert not any(box.is_cut or not box.length for box in boxes[:-1])
