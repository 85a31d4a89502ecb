"""Test that IPTC captions are wrapped and unwrapped as in the files of Pillow and other programs."""

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, IptcImagePlugin

from esc_cli.media.metadata.iptc import (
    LARGEST_IN_JPEG_BYTES,
    iptc_of_resources,
    iptc_of_stream,
    jpeg_segment,
    resource,
)


def data_set(number: int, content: bytes) -> bytes:
    return struct.pack(">BBBH", 0x1C, 2, number, len(content)) + content


CAPTION = data_set(0, b"\0\4") + data_set(120, "Zoë".encode()) + data_set(25, b"bird") + data_set(25, b"nest")
captions = st.lists(st.builds(data_set, st.integers(0, 255), st.binary(max_size=50)), min_size=1).map(
    b"".join
)


@given(captions)
def test_a_resource_is_unwrapped_again(iptc: bytes) -> None:
    assert iptc_of_stream(iptc) == iptc
    assert len(resource(iptc)) % 2 == 0
    other = b"8BIM\x03\xed\x05name!\0\0\0\3abc\0"  # has an odd size and a name
    for wrapped in (
        resource(iptc),
        other + resource(iptc),
        b"Photoshop 3.0\0" + resource(iptc) + other,
        iptc,
    ):
        assert iptc_of_resources(wrapped) == iptc


@given(captions, st.integers(0, 7))
def test_padding_and_swapped_words_are_undone(iptc: bytes, padding: int) -> None:
    assert iptc_of_stream(iptc + bytes(padding)) == iptc
    words = iptc + bytes(-len(iptc) % 4)
    swapped = b"".join(words[at : at + 4][::-1] for at in range(0, len(words), 4))
    if swapped[0] != 0x1C:
        assert iptc_of_stream(swapped) == iptc


def test_extended_data_sets_are_whole() -> None:
    content = bytes(70_000)
    extended = b"\x1c\x08\x0a" + struct.pack(">HI", 0x8004, len(content)) + content
    assert iptc_of_stream(CAPTION + extended) == CAPTION + extended
    assert iptc_of_stream(CAPTION + extended[:-1]) == CAPTION


@pytest.mark.parametrize(
    "garbage", [b"", b"no captions", b"8BIM", b"8BIM\x04\x04", b"8BIM\x04\x04\0\0\0\0\0\7abc"]
)
def test_what_is_no_caption_is_none(garbage: bytes) -> None:
    assert iptc_of_resources(garbage) is None


def test_pillow_reads_the_segment() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", extra=jpeg_segment(CAPTION))
    with Image.open(file) as image:
        found = IptcImagePlugin.getiptcinfo(image)
    assert found == {(2, 0): b"\0\4", (2, 120): "Zoë".encode(), (2, 25): [b"bird", b"nest"]}


def test_the_largest_segment() -> None:
    assert len(jpeg_segment(bytes(LARGEST_IN_JPEG_BYTES))) <= 2 + 65_535
    with pytest.raises(struct.error):
        jpeg_segment(bytes(LARGEST_IN_JPEG_BYTES + 2))
