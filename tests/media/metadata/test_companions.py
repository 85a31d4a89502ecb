"""Test that gain maps, videos and parts of XMP that are not kept are named before the work."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.companions import GAIN_MAP, VIDEO, companions_behind, companions_of_xmp
from esc_cli.media.metadata.extended_xmp import xmp_segments
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import PictureFile
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file, read_picture
from esc_cli.media.write import encode_file

Encode = Callable[..., bytes]

PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/"
 xmlns:Container="http://ns.google.com/photos/1.0/container/" xmlns:GCamera="http://ns.google.com/photos/1.0/camera/"
 xmlns:Item="http://ns.google.com/photos/1.0/container/item/" {}</rdf:Description></rdf:RDF></x:xmpmeta>"""
ITEM = (
    '><Container:Directory><rdf:Seq><rdf:li><Container:Item Item:Semantic="Primary"/></rdf:li><rdf:li>'
    '<Container:Item Item:Semantic="{}" Item:Length="99"/></rdf:li></rdf:Seq></Container:Directory>'
)


def packet(content: str) -> bytes:
    return PACKET.format(content).encode()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('hdrgm:Version="1.0">', [GAIN_MAP]),
        ("><hdrgm:Version>1.0</hdrgm:Version>", [GAIN_MAP]),
        (ITEM.format("GainMap"), [GAIN_MAP]),
        ('GCamera:MicroVideo="1">', [VIDEO]),
        ("><GCamera:MotionPhoto>1</GCamera:MotionPhoto>", [VIDEO]),
        ('GCamera:MotionPhoto="0">', []),
        (ITEM.format("MotionPhoto"), [VIDEO]),
        ('hdrgm:Version="1.0" GCamera:MotionPhoto="1">', [GAIN_MAP, VIDEO]),
        (">", []),
    ],
)
def test_xmp_announces_and_no_result_repeats_it(content: str, said: list[str], encode: Encode) -> None:
    assert list(companions_of_xmp(packet(content))) == said
    file = encode(Image.new("RGB", (8, 6)), "JPEG", xmp=packet(content))
    assert [*probe(file).notes] == said == [*read_picture(file).notes]
    read = read_file(file)
    assert [*read.first.notes] == said
    again = encode_file(read, FORMATS["JPEG"])
    assert list(companions_of_xmp(Image.open(io.BytesIO(again)).info["xmp"])) == []
    assert probe(again).notes == ()


def test_a_gain_map_of_the_iso_standard(encode: Encode) -> None:
    content = b"urn:iso:std:iso:ts:21496:-1\0" + bytes(4)
    segment = b"\xff\xe2" + struct.pack(">H", len(content) + 2) + content
    file = encode(Image.new("RGB", (8, 6)), "JPEG", extra=segment, xmp=packet('hdrgm:Version="1.0">'))
    assert probe(file).notes == (GAIN_MAP,)
    assert probe(encode(Image.new("RGB", (8, 6)), "JPEG", extra=segment)).notes == (GAIN_MAP,)


def item(kind: bytes, version: int) -> bytes:
    number = struct.pack(">H" if version == 2 else ">I", 4)
    return b"infe" + bytes((version, 0, 0, 0)) + number + bytes(2) + kind + b"\0"


@pytest.mark.parametrize(
    ("boxes", "said"),
    [
        (item(b"tmap", 2), (GAIN_MAP,)),
        (item(b"tmap", 3), (GAIN_MAP,)),
        (b"auxC\0\0\0\0urn:com:apple:photo:2020:aux:hdrgainmap\0", (GAIN_MAP,)),
        (item(b"av01", 2), ()),
        (b"auxC\0\0\0\0urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", ()),
    ],
)
def test_gain_maps_among_the_items_of_an_avif(boxes: bytes, said: tuple[str, ...], encode: Encode) -> None:
    """The names of items lie in a box that decoders pass over."""
    file = encode(Image.new("RGB", (8, 6)), "AVIF")
    added = file + struct.pack(">I4s", 8 + len(boxes), b"free") + boxes
    assert probe(added).notes == said
    assert read_picture(added).notes == said


def test_a_gain_map_in_a_box_of_a_jpeg_xl() -> None:
    if not FORMATS["JPEG XL"].is_installed():
        pytest.skip("needs the extra jxl")
    picture = read_file(Path(__file__).parents[2] / "data" / "sample.png").first
    exif = Image.Exif()
    exif[271] = "maker"
    with_exif = replace(picture, metadata=Metadata(exif=exif.tobytes()))  # so that there are boxes
    file = encode_file(PictureFile((with_exif,)), FORMATS["JPEG XL"])
    begins = file.index(b"ftyp") - 4
    end = begins + int.from_bytes(file[begins : begins + 4])
    assert probe(file).notes == ()
    box = struct.pack(">I4s", 8 + 4, b"jhgm") + bytes(4)
    assert probe(file[:end] + box + file[end:]).notes == (GAIN_MAP,)


def trailer(kind: bytes) -> bytes:
    content = b"\0\0" + kind + struct.pack("<I", 16) + b"MotionPhoto_Data" + b"....ftypmp42"
    entry = b"\0\0" + kind + struct.pack("<II", len(content), len(content))
    directory = b"SEFH" + struct.pack("<II", 107, 1) + entry
    return content + directory + struct.pack("<I", len(directory)) + b"SEFT"


def test_a_video_behind_a_picture(encode: Encode) -> None:
    file = encode(Image.new("RGB", (8, 6)), "JPEG")
    assert probe(file + trailer(b"\x30\x0a")).notes == (VIDEO,)
    assert probe(file + trailer(b"\x01\x0a")).notes == ()
    for content in (b"", b"SEFT", b"\xff" * 4 + b"SEFT", trailer(b"\x30\x0a")[-20:]):
        stream = io.BytesIO(content)
        assert list(companions_behind(stream)) == []
        assert stream.tell() == 0


def test_large_xmp_passes_through_a_jpeg(encode: Encode, tmp_path: Path) -> None:
    xmp = packet("><Item:Data>" + "x" * 200_000 + "</Item:Data>")
    file = encode(Image.new("RGB", (8, 6)), "JPEG", extra=xmp_segments(xmp))
    (tmp_path / "a.jpg").write_bytes(file)
    assert probe(tmp_path / "a.jpg").notes == ()
    read = read_file(tmp_path / "a.jpg")
    for name in ("JPEG", "PNG"):
        again = read_file(encode_file(read, FORMATS[name])).first.metadata.xmp
        assert again is not None
        assert b"x" * 200_000 in again
        assert b"HasExtendedXMP" not in again
    damaged = file.replace(b"http://ns.adobe.com/xmp/extension/\0", b"http://ns.adobe.com/xmp/extension/?", 1)
    sentence = "a part of XMP was left out, since it is damaged or incomplete"
    assert probe(damaged).notes == read_file(damaged).first.notes == (sentence,)
    assert encode_file(read_file(damaged), FORMATS["JPEG"])


def test_xmp_that_cannot_be_divided_is_left_out(encode: Encode) -> None:
    read = read_file(encode(Image.new("RGB", (8, 6)), "PNG"))
    file = PictureFile((replace(read.first, metadata=Metadata(xmp=b"x" * 70_000)),))
    assert "xmp" not in Image.open(io.BytesIO(encode_file(file, FORMATS["JPEG"]))).info
