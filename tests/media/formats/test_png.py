"""Test that PNG chunks are found, and inserted so that other programs can read them."""

import io
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from esc_cli.errors import InputError
from esc_cli.media.formats.png_chunks import (
    Chunk,
    exif_block_chunk,
    exif_chunk,
    icc_chunk,
    pixels_are_intact,
    raw_profile,
    raw_profile_chunk,
    resolution_chunk,
    with_metadata_chunks,
    xmp_chunk,
)
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file

XMP = "<x:xmpmeta>Zoë</x:xmpmeta>".encode()


def names_of(png: bytes) -> list[bytes]:
    """Return the types of all chunks, and verify their checksums."""
    names, at = [], 8
    while at < len(png):
        length, name = struct.unpack_from(">I4s", png, at)
        assert zlib.crc32(png[at + 4 : at + 8 + length]) == int.from_bytes(
            png[at + 8 + length : at + 12 + length], "big"
        )
        names.append(name)
        at += 12 + length
    return names


def all_chunks(profile: bytes) -> list[Chunk]:
    return [
        icc_chunk(profile),
        resolution_chunk((300.0, 150.0)),
        exif_block_chunk(b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
        raw_profile_chunk("iptc", b"8BIM captions"),
        xmp_chunk(XMP),
    ]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA"])
def test_pillow_reads_what_was_put_in(mode: str, srgb_profile: bytes, encode: Callable[..., bytes]) -> None:
    plain = encode(Image.new(mode, (5, 4)), "PNG")
    png = with_metadata_chunks(plain, all_chunks(srgb_profile))
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        assert image.mode == mode
        assert image.info["icc_profile"] == srgb_profile
        assert image.info["xmp"] == XMP
        assert image.info["exif"].startswith(b"Exif\0\0MM")
        assert [round(value) for value in image.info["dpi"]] == [300, 150]
        assert raw_profile(image.info["Raw profile type iptc"]) == b"8BIM captions"
    names = names_of(png)
    assert names[0] == b"IHDR"
    assert max(names.index(name) for name in (b"iCCP", b"pHYs", b"eXIf", b"zTXt", b"iTXt")) < names.index(
        b"IDAT"
    )


def test_the_encoders_own_are_replaced(srgb_profile: bytes, encode: Callable[..., bytes]) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<old/>")
    text.add_text("Raw profile type iptc", "\niptc\n       1\n00\n")
    text.add_text("Title", "kept")
    text.add(b"gAMA", struct.pack(">I", 45455))
    old = encode(
        Image.new("L", (5, 4)), "PNG", dpi=(72, 72), icc_profile=b"old", exif=b"Exif\0\0MM", pnginfo=text
    )
    names = names_of(with_metadata_chunks(old, all_chunks(srgb_profile)))
    assert sorted(names) == sorted(
        (b"IHDR", b"iCCP", b"pHYs", b"eXIf", b"zTXt", b"iTXt", b"tEXt", b"IDAT", b"IEND")
    )
    assert sorted(names_of(with_metadata_chunks(old, []))) == [b"IDAT", b"IEND", b"IHDR", b"gAMA", b"tEXt"]


def test_an_animation_stays_one(srgb_profile: bytes, encode: Callable[..., bytes]) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 90, 180)]
    plain = encode(frames[0], "PNG", save_all=True, append_images=frames[1:], duration=[100, 200, 300])
    with Image.open(io.BytesIO(with_metadata_chunks(plain, all_chunks(srgb_profile)))) as image:
        assert isinstance(image, PngImagePlugin.PngImageFile)
        assert image.n_frames == 3
        image.seek(2)
        assert (image.getpixel((0, 0)), image.info["duration"]) == (180, 300)


@given(st.binary(max_size=200))
def test_raw_profiles_are_undone(content: bytes) -> None:
    data = raw_profile_chunk("iptc", content).data
    keyword, _, text = data.partition(b"\0\0")
    assert keyword == b"Raw profile type iptc"
    assert raw_profile(zlib.decompress(text).decode()) == content


@pytest.mark.parametrize("text", [None, "", "\n", "\nexif\n", "\nexif\n  2\nxyz!", b"\nexif\n 1\n00"])
def test_what_is_no_raw_profile_is_empty(text: object) -> None:
    assert raw_profile(text) == b""


def test_exif_is_found_behind_the_pixels(make_png: Callable[..., bytes]) -> None:
    file = io.BytesIO(make_png((1, 1), 8, 0, [b"\0"], after={b"eXIf": b"MM\0*"}))
    file.seek(5)
    assert exif_chunk(file) == b"MM\0*"
    assert file.tell() == 5
    assert exif_chunk(io.BytesIO(make_png((1, 1), 8, 0, [b"\0"]))) is None


def test_a_changed_pixel_is_noticed(make_png: Callable[..., bytes]) -> None:
    png = make_png((1, 1), 8, 0, [b"\0"])
    assert pixels_are_intact(io.BytesIO(png))
    at = png.index(b"IDAT") + 6
    assert not pixels_are_intact(io.BytesIO(png[:at] + bytes((png[at] ^ 1,)) + png[at + 1 :]))


@pytest.mark.skipif(shutil.which("pngcheck") is None, reason="pngcheck is not here")
def test_pngcheck_finds_no_fault(srgb_profile: bytes, encode: Callable[..., bytes], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(with_metadata_chunks(encode(Image.new("P", (5, 4)), "PNG"), all_chunks(srgb_profile)))
    checked = subprocess.run(["pngcheck", "-v", str(path)], capture_output=True, text=True, check=True)
    assert "No errors detected" in checked.stdout


@pytest.mark.usefixtures("imagemagick")
def test_imagemagick_and_we_understand_each_other(encode: Callable[..., bytes], tmp_path: Path) -> None:
    captions = b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02\x78\0\5hello"
    ours, theirs = tmp_path / "ours.png", tmp_path / "theirs.png"
    ours.write_bytes(
        with_metadata_chunks(encode(Image.new("L", (5, 4)), "PNG"), [raw_profile_chunk("iptc", captions)])
    )
    subprocess.run(["convert", str(ours), str(theirs)], check=True)
    with Image.open(theirs) as image:
        image.load()
        assert raw_profile(image.info["Raw profile type iptc"]).startswith(captions)


def with_a_wrong_checksum(png: bytes, name: bytes) -> bytes:
    """Return a PNG in which the checksum of a chunk does not match."""
    at = 8
    while png[at + 4 : at + 8] != name:
        at += 12 + struct.unpack_from(">I", png, at)[0]
    end = at + 8 + struct.unpack_from(">I", png, at)[0]
    return png[:end] + bytes(byte ^ 0xFF for byte in png[end : end + 4]) + png[end + 4 :]


def png_with_metadata(mode: str = "RGB") -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", "a IDAT tEXt title")
    with io.BytesIO() as file:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image = Image.new(mode, (9, 7), 99)
        image.save(file, "PNG", pnginfo=text, dpi=(300, 300), icc_profile=profile)
        return file.getvalue()


@pytest.mark.parametrize("name", [b"pHYs", b"iCCP", b"tEXt"])
def test_wrong_checksums_of_metadata_are_no_damage(name: bytes) -> None:
    whole = png_with_metadata()
    content = with_a_wrong_checksum(whole, name)
    assert content != whole
    note = f"the checksums of some chunks do not match ({name.decode()}), and their content is kept"
    assert probe(content).notes == (note,)
    read, expected = read_file(content).first, read_file(whole).first
    assert torch.equal(read.color, expected.color)
    assert read.metadata == expected.metadata
    assert probe(whole).notes == ()


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(b"pHYs", b"123"),
        Chunk(b"gAMA", b""),
        Chunk(b"cHRM", bytes(31)),
        Chunk(b"sRGB", b""),
        Chunk(b"zTXt", b"Comment\0\7" + zlib.compress(b"words")),
        Chunk(b"zTXt", b"k" * 100 + b"\0\7" + zlib.compress(b"words")),
        Chunk(b"iTXt", b"Comment\0\1\7\0\0" + zlib.compress(b"words")),
        Chunk(b"iTXt", b"Comment\0\0\0words"),
        Chunk(b"iCCP", b"name\0\1" + zlib.compress(bytes(200))),
        Chunk(b"iCCP", b"k" * 100 + b"\0\1" + zlib.compress(bytes(200))),
        Chunk(b"iCCP", b"no NUL"),
        Chunk(b"iCCP", b"name\0"),
        Chunk(b"iCCP", b""),
    ],
    ids=lambda chunk: f"{chunk.name.decode()} {len(chunk.data)}",
)
def test_metadata_that_cannot_be_read_is_no_damage(make_png: Callable[..., bytes], chunk: Chunk) -> None:
    """Browsers show such files. libpng warns, and ignores the chunk."""
    plain = make_png((1, 2), 8, 2, [b"\1\2\3", b"\4\5\6"])
    content = plain[:33] + chunk.encoded() + plain[33:]
    assert probe(content).notes == (f"chunks that cannot be read were left out: {chunk.name.decode()}",)
    first = read_file(content).first
    assert torch.equal(first.color, read_file(plain).first.color)
    assert first.metadata == read_file(plain).first.metadata


def test_a_png_for_apples_devices_is_not_called_damaged(make_png: Callable[..., bytes]) -> None:
    plain = make_png((1, 2), 8, 2, [b"\1\2\3", b"\4\5\6"])
    content = plain[:8] + Chunk(b"CgBI", b"P\0 \2").encoded() + plain[8:]
    with pytest.raises(InputError, match="Apple's own form"):
        probe(content)


def test_a_chunk_that_cannot_be_read_leaves_others_alone() -> None:
    """Here, the first of two chunks of one kind is malformed, and the checksum of another one is wrong."""
    whole = png_with_metadata()
    content = with_a_wrong_checksum(whole, b"tEXt")
    content = content[:33] + Chunk(b"pHYs", b"").encoded() + content[33:]
    assert probe(content).notes == (
        "the checksums of some chunks do not match (tEXt), and their content is kept",
        "chunks that cannot be read were left out: pHYs",
    )
    assert read_file(content).first.metadata == read_file(whole).first.metadata


def test_of_two_chunks_of_one_kind_only_the_malformed_one_is_left_out() -> None:
    whole = png_with_metadata()
    content = with_a_wrong_checksum(whole, b"pHYs")
    content = content[:33] + Chunk(b"pHYs", b"").encoded() + content[33:]
    assert len(probe(content).notes) == 2
    assert read_file(content).first.metadata == read_file(whole).first.metadata


def test_a_damaged_profile_is_said(make_png: Callable[..., bytes]) -> None:
    plain = make_png((1, 1), 8, 2, [b"\1\2\3"])
    content = plain[:33] + Chunk(b"iCCP", b"name\0\0not compressed").encoded() + plain[33:]
    assert probe(content).notes == ("a color profile was left out, since it is damaged",)
    assert read_file(content).first.notes == probe(content).notes


@pytest.mark.parametrize("name", [b"IHDR", b"PLTE", b"IDAT"])
def test_wrong_checksums_of_pixels_are_damage(name: bytes) -> None:
    content = with_a_wrong_checksum(png_with_metadata("P"), name)
    with pytest.raises(InputError, match="is damaged"):
        read_file(content)


def test_wrong_checksums_of_frames_are_damage() -> None:
    images = [Image.new("RGB", (9, 7), color) for color in ("red", "green")]
    with io.BytesIO() as file:
        images[0].save(file, "PNG", save_all=True, append_images=images[1:])
        content = file.getvalue()
    for name in (b"acTL", b"fcTL", b"fdAT"):
        with pytest.raises(InputError, match="is damaged"):
            read_file(with_a_wrong_checksum(content, name))
