"""Test which metadata is read from files of every kind, and which parts a result gets."""

import io
import re
import struct
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from esc_cli.errors import UsageError
from esc_cli.media.formats.png_chunks import Chunk
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.exif import exif_dpi
from esc_cli.media.metadata.fitting import (
    fitted,
    holds,
    metadata_lost,
    metadata_notes,
    metadata_of_header,
    parse_metadata_list,
    part_sizes,
    parts_held,
    read_metadata,
)
from esc_cli.media.metadata.geo import Georeferencing
from esc_cli.media.metadata.kinds import ALL_METADATA, OPTIONS, Held, Metadata
from esc_cli.media.probe import probe
from esc_cli.media.read import read_picture
from esc_cli.media.tiff_directories import BYTE, LONG, UNDEFINED, Entry, Field, TiffReader, Tree, directory_at

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
Encode = Callable[..., bytes]
CAPTION = b"\x1c\x02\x78\0\x09A caption\x1c\x02\x19\0\4bird"
RESOURCE = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(CAPTION)) + CAPTION + bytes(len(CAPTION) % 2)
XMP = b'<x:xmpmeta><rdf:Description tiff:ImageWidth="4"/></x:xmpmeta>'


def plain_exif(**tags: str) -> bytes:
    exif = Image.Exif()
    exif[271] = tags.get("maker", "maker")
    return exif.tobytes()


def complete(profile: bytes) -> Metadata:
    title = Chunk(b"tEXt", b"Title\0a title")
    geo = Georeferencing((), 1, 1)
    example = Metadata(profile, plain_exif(), XMP, (300.0, 300.0), CAPTION, (title,), b"a comment", geo)
    assert all(getattr(example, name) is not None for name in ALL_METADATA), "a new kind needs an example"
    return example


def parts_of(image: Image.Image) -> set[Held]:
    return {*part_sizes(metadata_of_header(image))}


def tag(exif: bytes | None, number: int) -> object:
    tags = Image.Exif()
    tags.load(exif or b"")
    return tags.get(number)


# Parts that a user asks for


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("all", ALL_METADATA),
        ("none", frozenset()),
        ("exif", {"exif"}),
        ("icc,xmp", {"icc_profile", "xmp"}),
        ("EXIF, iptc ,dpi", {"exif", "iptc", "dpi"}),
    ],
)
def test_lists_of_parts(text: str, parts: frozenset[Held]) -> None:
    assert parse_metadata_list(text) == parts


@pytest.mark.parametrize("text", ["", "gps", "exif,", "all,exif", "none,icc", "icc_profile"])
def test_unknown_parts_are_refused(text: str) -> None:
    with pytest.raises(
        UsageError, match=r"is not a part of a picture's metadata \(choose all, none, or some of .*\)$"
    ) as caught:
        parse_metadata_list(text)
    assert caught.value.hint == f"choose all, none, or some of {','.join(OPTIONS)}"


# Reading


def opened(file: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(file))
    image.load()
    return image


def test_captions_of_a_jpeg(encode: Encode) -> None:
    content = b"Photoshop 3.0\0" + RESOURCE
    file = encode(
        Image.new("L", (8, 8)), "JPEG", extra=b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
    )
    assert read_metadata(opened(file), True).iptc == CAPTION


@pytest.mark.parametrize(
    ("number", "field"),
    [
        (33723, Field(UNDEFINED, CAPTION)),
        (33723, Field(LONG, CAPTION + bytes(-len(CAPTION) % 4), "<")),  # as libtiff writes it
        (33723, Field(LONG, CAPTION + bytes(-len(CAPTION) % 4), ">")),
        (34377, Field(BYTE, RESOURCE)),
    ],
)
def test_captions_of_a_tiff(number: int, field: Field, encode: Encode) -> None:
    file = encode(Image.new("L", (8, 8)), "TIFF")
    reader = TiffReader(io.BytesIO(file))
    page: dict[int, Entry | Field | Tree] = {**reader.directory(reader.first).entries, number: field}
    position = len(file) + len(file) % 2
    new = (
        reader.layout.header(position)
        + file[8:].ljust(position - 8)
        + directory_at(position, page, reader.layout)
    )
    assert read_metadata(opened(new), True).iptc == CAPTION


def raw_profile_text(kind: str, content: bytes) -> str:
    """Return a raw profile as ImageMagick writes it."""
    digits = content.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{kind}\n{len(content):8}\n{lines}\n"


@pytest.mark.parametrize("captions", [CAPTION, RESOURCE])
def test_raw_profiles_of_a_png(captions: bytes, encode: Encode) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Raw profile type iptc", raw_profile_text("iptc", captions), zip=True)
    text.add_text("Raw profile type exif", raw_profile_text("exif", plain_exif()))
    text.add_text("Raw profile type xmp", raw_profile_text("xmp", XMP))
    image = opened(encode(Image.new("L", (8, 8)), "PNG", pnginfo=text))
    metadata = read_metadata(image, True)
    assert (metadata.iptc, metadata.xmp, tag(metadata.exif, 271)) == (CAPTION, XMP, "maker")
    assert parts_of(image) == {"iptc", "xmp", "exif"}


def test_a_jpegs_segment_in_a_png(encode: Encode) -> None:
    contents = {"exif": plain_exif(), "xmp": b"http://ns.adobe.com/xap/1.0/\0" + XMP}
    for part, content in contents.items():
        text = PngImagePlugin.PngInfo()
        text.add_text("Raw profile type APP1", raw_profile_text("app1", content))
        image = opened(encode(Image.new("L", (8, 8)), "PNG", pnginfo=text))
        assert parts_of(image) == {part}


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("exif", "\nexif\n{size:8}\n{digits}\n"),
        ("exif", "exif\n{size}\n{digits}"),
        ("exif", "\r\nexif\r\n  {size}\r\n{digits}\r\n"),
        ("exif", "\n{size:8}\n{digits}\n"),
        ("exif", "\nexif\n{more:8}\n{digits}\n"),
        ("exif", "\nexif\n{size:8}\n{digits}0"),
        ("exif", "\nexif\n{size:8}\n{digits}\nxyz"),
        ("exif", "\ngeneric profile\n{size:8}\n{digits}\n"),
        ("EXIF", "\nexif\n{size:8}\n{digits}\n"),
        ("APP1", "\nAPP1\n{size:8}\n{digits}\n"),
        ("app1", "\ngeneric profile\n{size:8}\n{digits}\n"),
    ],
)
@pytest.mark.parametrize("head", [b"Exif\0\0", b"", b"Exif\0\0Exif\0\0", b"\xff\xe1\0\x40Exif\0\0"])
def test_exif_in_odd_raw_profiles(kind: str, text: str, head: bytes, encode: Encode) -> None:
    content = head + plain_exif()[6:]
    size, digits = len(content), "\n".join(re.findall(".{1,72}", content.hex()))
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(f"Raw profile type {kind}", text.format(size=size, more=size + 9, digits=digits))
    image = opened(encode(Image.new("L", (8, 8)), "PNG", pnginfo=chunks))
    assert tag(read_metadata(image, True).exif, 271) == "maker"
    assert parts_of(image) == {"exif"}


@pytest.mark.parametrize("kind", ["exif", "APP1"])
def test_the_orientation_in_an_odd_raw_profile(kind: str, encode: Encode) -> None:
    exif = Image.Exif()
    exif[274] = 6
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(f"Raw profile type {kind}", f"exif\n{len(exif.tobytes())}\n{exif.tobytes().hex()}")
    file = encode(Image.new("L", (8, 4)), "PNG", pnginfo=chunks)
    found = probe(file)
    assert (found.height, found.width) == (8, 4)
    picture = read_picture(file)
    assert (picture.height, picture.width) == (8, 4)


@pytest.mark.parametrize("text", ["", "exif", "\nexif\n", "\nexif\n   8\nhello", "no profile", "\nexif\n8\n"])
def test_what_is_no_raw_profile(text: str, encode: Encode) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("Raw profile type exif", text)
    image = opened(encode(Image.new("L", (8, 8)), "PNG", pnginfo=chunks))
    assert read_metadata(image, True) == Metadata()


def test_exif_behind_the_pixels_of_an_undecoded_png(make_png: Callable[..., bytes]) -> None:
    file = make_png((1, 1), 8, 0, [b"\0"], after={b"eXIf": plain_exif()[6:]})
    with Image.open(io.BytesIO(file)) as image:
        assert parts_of(image) == {"exif"}
        assert image.getpixel((0, 0)) == 0


@pytest.mark.usefixtures("imagemagick")
def test_what_imagemagick_makes_of_our_jpeg_is_read(encode: Encode, tmp_path: Path) -> None:
    content = b"Photoshop 3.0\0" + RESOURCE
    segment = b"\xff\xed" + struct.pack(">H", len(content) + 2) + content
    jpeg = tmp_path / "a.jpg"
    jpeg.write_bytes(
        encode(Image.new("RGB", (8, 8)), "JPEG", extra=segment, exif=plain_exif(), xmp=XMP, dpi=(300, 300))
    )
    for extension in ("png", "tif"):
        other = jpeg.with_suffix(f".{extension}")
        subprocess.run(["convert", str(jpeg), str(other)], check=True, stderr=subprocess.DEVNULL)
        metadata = read_metadata(opened(other.read_bytes()), False)
        assert (metadata.iptc, metadata.xmp, metadata.dpi) == (CAPTION, XMP, (300.0, 300.0))
        assert extension == "tif" or tag(metadata.exif, 271) == "maker"


@given(st.integers(2, 65_000))
def test_whole_resolutions_survive_a_png(dpi: int) -> None:
    file = io.BytesIO()
    Image.new("L", (1, 1)).save(file, "PNG", dpi=(dpi, dpi))
    assert read_metadata(opened(file.getvalue()), True).dpi == (dpi, dpi)


def test_a_resolution_comes_from_exif_if_nowhere_else(encode: Encode) -> None:
    exif = Image.Exif()
    exif.update({282: 240.0, 283: 120.0, 296: 2})
    image = Image.new("L", (8, 8))
    assert read_metadata(opened(encode(image, "WEBP", exif=exif)), True).dpi == (240.0, 120.0)
    assert read_metadata(opened(encode(image, "PNG", exif=exif, dpi=(72, 72))), True).dpi == (72.0, 72.0)


def test_a_tiff_read_by_pillow_alone_and_closed(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[271] = "maker"
    Image.new("L", (8, 8)).save(tmp_path / "a.tif", exif=exif, compression="tiff_lzw")
    with Image.open(tmp_path / "a.tif") as image:
        image.load()
    assert tag(read_metadata(image, True).exif, 271) == "maker"


@pytest.mark.parametrize(
    ("jfif", "in_exif", "result"),
    [
        ((72, 72), (300.0, 300.0, 2), (300.0, 300.0)),
        ((72, 72), (300.0, 200.0, 2), (300.0, 200.0)),
        ((72, 72), (1.0, 1.0, 1), (72.0, 72.0)),
        ((72, 72), (1.0, 1.0, 2), (72.0, 72.0)),
        ((72, 72), None, (72.0, 72.0)),
        ((300, 300), (72.0, 72.0, 2), (300.0, 300.0)),
        ((96, 96), (300.0, 300.0, 2), (96.0, 96.0)),
        (None, (300.0, 300.0, 2), (300.0, 300.0)),
    ],
)
def test_the_resolution_of_a_jpeg_is_that_of_exif_unless_jfif_means_one(
    jfif: tuple[int, int] | None,
    in_exif: tuple[float, float, int] | None,
    result: tuple[float, float],
    encode: Encode,
) -> None:
    exif = Image.Exif()
    exif.update({} if in_exif is None else {282: in_exif[0], 283: in_exif[1], 296: in_exif[2]})
    file = encode(Image.new("L", (8, 8)), "JPEG", exif=exif, **({} if jfif is None else {"dpi": jfif}))
    metadata = read_metadata(opened(file), True)
    assert metadata.dpi == result
    written = fitted(metadata, FORMATS["JPEG"], 8, 8)
    assert written.dpi == result


def test_exif_in_several_segments_and_a_second_block(encode: Encode) -> None:
    def segment(content: bytes) -> bytes:
        content = b"Exif\0\0" + content
        return b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content

    block = plain_exif(maker="m" * 80_000)[6:]
    image = Image.new("RGB", (8, 8))
    divided = encode(image, "JPEG", extra=segment(block[:60_000]) + segment(block[60_000:]))
    assert tag(read_metadata(opened(divided), False).exif, 271) == "m" * 80_000
    first, second = (plain_exif(maker=letter * 50_000)[6:] for letter in "ab")
    twice = encode(image, "JPEG", extra=segment(first) + segment(second))
    metadata = read_metadata(opened(twice), False)
    assert tag(metadata.exif, 271) == "a" * 50_000
    assert metadata_lost(metadata, FORMATS["JPEG"]) == ()


def test_28_dots_per_centimeter_are_72_per_inch(encode: Encode) -> None:
    exif = Image.Exif()
    exif.update({282: 300.0, 283: 300.0, 296: 2})
    file = bytearray(encode(Image.new("L", (8, 8)), "JPEG", exif=exif, dpi=(28, 28)))
    file[13] = 2  # JFIF's unit
    assert read_metadata(opened(bytes(file)), True).dpi == (300.0, 300.0)


def test_a_jpeg_without_a_resolution_has_none(encode: Encode) -> None:
    image = Image.new("L", (8, 8))
    assert read_metadata(opened(encode(image, "JPEG", exif=plain_exif())), True).dpi is None
    assert read_metadata(opened(encode(image, "JPEG", exif=plain_exif(), dpi=(96, 96))), True).dpi == (
        96.0,
        96.0,
    )


def test_a_profile_is_made_of_what_a_png_tells_about_its_gamma(make_png: Callable[..., bytes]) -> None:
    file = make_png((1, 1), 8, 2, [b"abc"], before={b"gAMA": struct.pack(">I", 100_000)})
    profile = read_metadata(opened(file), False, file).icc_profile
    assert profile is not None
    transform = ImageCms.buildTransform(io.BytesIO(profile), ImageCms.createProfile("sRGB"), "RGB", "RGB")
    shade = transform.apply(Image.new("RGB", (1, 1), (55, 55, 55))).getpixel((0, 0))
    assert shade == pytest.approx((128, 128, 128), abs=1)  # IEC 61966-2-1: 128 is 21.6% of the light
    assert read_metadata(opened(make_png((1, 1), 8, 2, [b"abc"])), False, file[:8]).icc_profile is None


def test_notes_of_what_was_left_out(encode: Encode, srgb_profile: bytes) -> None:
    broken = opened(
        encode(Image.new("L", (8, 8)), "JPEG", icc_profile=srgb_profile, exif=b"Exif\0\0garbage, no TIFF")
    )
    metadata = read_metadata(broken, True)
    assert metadata == Metadata()
    assert list(metadata_notes(broken, metadata)) == [
        "a color profile that does not fit its pixels was left out",
        "EXIF was left out, since it is damaged",
    ]
    good = opened(encode(Image.new("RGB", (8, 8)), "JPEG", icc_profile=srgb_profile, exif=plain_exif()))
    assert list(metadata_notes(good, read_metadata(good, False))) == []
    exif = Image.Exif()
    exif[274] = 6
    turned = opened(encode(Image.new("RGB", (8, 8)), "JPEG", exif=exif.tobytes()))
    assert list(metadata_notes(turned, read_metadata(turned, False))) == []


# Metadata of a result


def test_each_part_is_independent(srgb_profile: bytes) -> None:
    metadata = complete(srgb_profile)
    for part in ALL_METADATA:
        format = FORMATS["TIFF" if part == "geo" else "PNG"]
        kept = fitted(metadata, format, 6, 8, frozenset((part,)), "esc-upscale 1")
        assert {field.name for field in fields(kept) if getattr(kept, field.name) is not None} == {part}
    nothing = fitted(metadata, FORMATS["PNG"], 6, 8, frozenset(), "esc-upscale 1")
    assert nothing == Metadata()


def test_a_result_is_described(srgb_profile: bytes) -> None:
    result = fitted(complete(srgb_profile), FORMATS["PNG"], 6, 8, provenance="esc-upscale 1")
    assert (result.icc_profile, result.iptc, result.dpi) == (srgb_profile, CAPTION, (300.0, 300.0))
    assert result.xmp == XMP.replace(b'"4"', b'"8"')
    assert (tag(result.exif, 271), tag(result.exif, 0x000B)) == ("maker", "esc-upscale 1")
    assert exif_dpi(result.exif or b"") == (300.0, 300.0)
    assert tag(fitted(complete(srgb_profile), FORMATS["PNG"], 6, 8).exif, 0x000B) is None


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_formats_get_what_they_hold_and_the_rest_is_said(name: str, srgb_profile: bytes) -> None:
    metadata, format = complete(srgb_profile), FORMATS[name]
    result = fitted(metadata, format, 6, 8, provenance="esc-upscale 1")
    assert {part for part in ALL_METADATA if getattr(result, part) is not None} == format.holds
    lost = metadata_lost(metadata, format)
    assert len(lost) == len(ALL_METADATA - parts_held(format))
    assert all(f"{name} cannot hold " in sentence for sentence in lost)
    assert metadata_lost(metadata, format, frozenset()) == metadata_lost(Metadata(), format) == ()


def test_a_format_without_a_resolution_has_it_in_exif() -> None:
    source, webp = Metadata(dpi=(300.0, 300.0)), FORMATS["WEBP"]
    assert exif_dpi(fitted(source, webp, 6, 8).exif or b"") == (300.0, 300.0)
    assert metadata_lost(source, webp) == ()
    assert fitted(source, FORMATS["PNG"], 6, 8).exif is None
    only_dpi: frozenset[Held] = frozenset(("dpi",))
    assert fitted(source, webp, 6, 8, only_dpi) == Metadata()
    assert metadata_lost(source, webp, only_dpi) == ("WEBP cannot hold the resolution in dots per inch",)


def test_what_has_no_room_in_a_jpeg() -> None:
    jpeg, png = FORMATS["JPEG"], FORMATS["PNG"]
    exif = Image.Exif()
    exif[271] = "m" * 65_480
    larger = Image.Exif()
    larger[271] = "m" * 65_534
    captions = b"".join(b"\x1c\x02\x78" + struct.pack(">H", 7_000) + bytes(7_000) for _ in range(10))
    long = b"c" * 65_534
    large = Metadata(exif=larger.tobytes(), xmp=b"x" * 70_000, iptc=captions, comment=long)
    assert fitted(large, jpeg, 6, 8) == Metadata()
    assert fitted(large, png, 6, 8).iptc == captions
    assert metadata_lost(large, jpeg) == tuple(
        f"JPEG cannot hold {part} of this size" for part in ("EXIF", "XMP", "IPTC captions", "a comment")
    )
    tight = Metadata(exif=exif.tobytes())
    assert holds(jpeg, "exif", tight)
    result = fitted(tight, jpeg, 6, 8, provenance="a long sentence on what made it, and out of what")
    assert tag(result.exif, 271) == "m" * 65_480
    assert tag(result.exif, 0x000B) is None


def test_additions_give_way_where_exif_fills_its_segment(encode: Encode) -> None:
    exif = Image.Exif()
    exif[271] = "m" * 65_470  # two bytes remain
    exif[274] = 6
    file = encode(Image.new("RGB", (8, 6)), "JPEG", exif=exif.tobytes(), dpi=(240, 240))
    metadata = read_metadata(opened(file), False)
    assert metadata_lost(metadata, FORMATS["JPEG"]) == ()
    result = fitted(metadata, FORMATS["JPEG"], 6, 8, provenance="a long sentence on what made it")
    assert (tag(result.exif, 271), tag(result.exif, 274)) == ("m" * 65_470, None)


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus is not here")
def test_the_parts_of_the_corpus() -> None:
    """The expected parts are those that exiftool finds, but a gamma becomes a profile."""
    expected = {
        "photo_gps_ori1.jpg": {"exif", "xmp", "iptc", "dpi"},
        "photo_adobe_rgb_4k.jpg": {"exif", "iptc", "icc_profile", "dpi"},
        "p3_irot.avif": {"exif", "icc_profile", "dpi"},
        "icc_p3_color_bars.png": {"xmp", "icc_profile", "dpi"},
        "rgb16_linear_rec2020_icc.png": {"exif", "icc_profile", "dpi"},
        "lab.tif": {"exif", "xmp", "iptc", "dpi"},
        "text_scan.png": set(),
        "gamma_chunk.png": {"icc_profile"},
        "anim.gif": {"comment"},
    }
    for name, parts in expected.items():
        with Image.open(CORPUS / name) as image:
            assert parts_of(image) == parts, name
