"""Test metadata in finished files, read back by Pillow and by exiftool."""

import io
import json
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms, PngImagePlugin, TiffImagePlugin

from esc_cli.media.formats.png_chunks import Chunk
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.fitting import fitted, read_metadata
from esc_cli.media.metadata.kinds import Metadata

Encode = Callable[..., bytes]
CAPTION = b"\x1c\x02\x78\0\x09A caption\x1c\x02\x19\0\4bird"
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Label="a label"/>'
    b"</rdf:RDF></x:xmpmeta>"
)
HERE = ("PNG", "JPEG", "TIFF", "WEBP", "AVIF")


def camera_exif() -> bytes:
    exif = Image.Exif()
    exif[271] = "maker"
    exif.get_ifd(0x8769).update(
        {0x9003: "2024:01:02 03:04:05", 0x927C: b"OLYMPUS\0II a maker's note", 0xA002: 1, 0xA003: 1}
    )
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 1.0, 31.0), 3: "E", 4: (4.0, 2.0, 1.5)})
    return exif.tobytes()


@pytest.fixture
def metadata(srgb_profile: bytes) -> Metadata:
    return Metadata(srgb_profile, camera_exif(), XMP, (300.0, 150.0), CAPTION)


def written(
    image: Image.Image, metadata: Metadata, name: str, encode: Encode, **options: Any
) -> tuple[bytes, Metadata]:
    """Return a file with fitted metadata, made with the steps of the program itself, and that metadata."""
    fit = fitted(metadata, FORMATS[name], image.height, image.width, provenance="esc-upscale 1")
    encoded = encode(image, name, **FORMATS[name].metadata_options(fit), **options)
    return FORMATS[name].embed(encoded, [fit]), fit


@pytest.mark.parametrize("name", HERE)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_is_written_is_what_is_read(name: str, mode: str, metadata: Metadata, encode: Encode) -> None:
    gray = mode == "L"
    profile = bytearray(metadata.icc_profile or b"")
    profile[16:20] = b"GRAY" if gray else b"RGB "
    image = Image.effect_noise((40, 30), 50).convert(mode)
    file, fit = written(image, replace(metadata, icc_profile=bytes(profile)), name, encode)
    with Image.open(io.BytesIO(file)) as again:
        again.load()
        found = read_metadata(again, gray)
        tags = again.getexif()
        assert tags[0x000B] == "esc-upscale 1"
        assert tags.get_ifd(ExifTags.IFD.Exif)[0x9003] == "2024:01:02 03:04:05"
        assert bytes(tags.get_ifd(ExifTags.IFD.Exif)[0x927C]) == b"OLYMPUS\0II a maker's note"
        assert tags.get_ifd(ExifTags.IFD.GPSInfo)[2] == (52.0, 1.0, 31.0)
    assert (found.icc_profile, found.xmp, found.iptc) == (fit.icc_profile, fit.xmp, fit.iptc)
    assert found.dpi == (300.0, 300.0 if name == "JPEG" and found.dpi == (300.0, 300.0) else 150.0)


def test_text_of_a_png_stays_as_it_is(metadata: Metadata, encode: Encode) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("parameters", "a cat, steps: 20")
    text.add_text("Title", "long " * 200, zip=True)
    text.add_itxt("Description", "Größe", lang="de", tkey="Beschreibung")
    text.add_text("exif:Make", "what EXIF says, too")
    file = encode(Image.new("RGB", (8, 8)), "PNG", pnginfo=text)
    behind = file[:-12] + Chunk(b"tEXt", b"after\0the pixels").encoded() + file[-12:]
    with Image.open(io.BytesIO(behind)) as image:
        image.load()
        found = read_metadata(image, gray=False)
    for frames in ({}, {"save_all": True, "append_images": [Image.new("RGB", (8, 8), "red")]}):
        file, _ = written(
            Image.new("RGB", (8, 8)), replace(metadata, text=found.text), "PNG", encode, **frames
        )
        with Image.open(io.BytesIO(file)) as again:
            assert read_metadata(again, gray=False).text == found.text
            texts = dict(again.text)
        assert texts["parameters"] == "a cat, steps: 20"
        assert texts["Title"] == "long " * 200
        assert (texts["Description"], texts["Description"].lang) == ("Größe", "de")
        assert texts["after"] == "the pixels"
        assert "exif:Make" not in texts


@pytest.mark.parametrize(
    ("comment", "text"), [("Größe".encode(), "Größe"), (b"Gr\xf6\xdfe\0", "Größe"), (b"plain\0", "plain")]
)
def test_a_comment_stays(metadata: Metadata, encode: Encode, comment: bytes, text: str) -> None:
    image = Image.new("RGB", (8, 8))
    with Image.open(io.BytesIO(encode(image, "JPEG", comment=comment))) as source:
        found = read_metadata(source, gray=False)
    assert found.comment == comment
    with_comment = replace(metadata, comment=found.comment)
    for name, key, expected in (("JPEG", "comment", comment), ("PNG", "Comment", text)):
        file, _ = written(image, with_comment, name, encode)
        with Image.open(io.BytesIO(file)) as again:
            assert again.info[key] == expected


@pytest.mark.parametrize(
    ("compression", "big_tiff"),
    [("raw", False), ("raw", True), ("tiff_lzw", False), ("tiff_adobe_deflate", False)],
)
def test_a_tiff_keeps_its_pixels(
    compression: str, big_tiff: bool, metadata: Metadata, encode: Encode
) -> None:
    image = Image.effect_noise((41, 33), 50).convert("RGB")
    file, _fit = written(image, metadata, "TIFF", encode, compression=compression, big_tiff=big_tiff)
    assert file[2] == (43 if big_tiff else 42)
    with Image.open(io.BytesIO(file)) as again:
        assert again.info["compression"] == compression
        assert np.array_equal(np.asarray(again), np.asarray(image))


def test_a_tiff_of_big_endian(metadata: Metadata) -> None:
    """No encoder here makes such a file of eight gray pixels. Source: TIFF 6.0, section 4."""
    tags = [(256, 4), (257, 2), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2), (279, 8)]
    rows = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    pixels = bytes(range(0, 160, 20))
    file = b"MM\0*" + struct.pack(">I", 16) + pixels + struct.pack(">H", len(tags)) + rows + bytes(4)
    fit = fitted(metadata, FORMATS["TIFF"], 2, 4)
    with Image.open(io.BytesIO(FORMATS["TIFF"].embed(file, [fit]))) as image:
        assert image.tobytes() == pixels
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[4] == (4.0, 2.0, 1.5)
        assert image.getexif().get_ifd(ExifTags.IFD.Exif)[0xA003] == 2
        assert read_metadata(image, True).dpi == (300.0, 150.0)


def test_pages_keep_their_order_and_get_a_profile_that_fits(metadata: Metadata, encode: Encode) -> None:
    pages = [Image.new(mode, (5 + number, 5), 40 * number) for number, mode in enumerate(("RGB", "L", "RGB"))]
    encoded = encode(pages[0], "TIFF", save_all=True, append_images=pages[1:], compression="tiff_lzw")
    fit = fitted(metadata, FORMATS["TIFF"], 5, 5)
    later = (Metadata(dpi=(72.0, 72.0)), Metadata(xmp=b"<own/>"))
    expected: dict[tuple[Metadata, ...], list[object]] = {
        (): [(True, (300.0, 150.0), XMP), (False, (300.0, 150.0), None), (True, (300.0, 150.0), None)],
        later: [(True, (300.0, 150.0), XMP), (False, (72.0, 72.0), None), (False, None, b"<own/>")],
    }
    for own, results in expected.items():
        with Image.open(io.BytesIO(FORMATS["TIFF"].embed(encoded, [fit, *own]))) as image:
            for number, result in enumerate(results):
                image.seek(number)
                assert isinstance(image, TiffImagePlugin.TiffImageFile)
                found = read_metadata(image, image.mode == "L")
                assert (found.icc_profile is not None) == (34675 in image.tag_v2)
                assert (image.size, image.getbands()) == (pages[number].size, pages[number].getbands())
                assert (found.icc_profile is not None, found.dpi, found.xmp) == result


def test_what_an_encoder_wrote_is_replaced(metadata: Metadata, encode: Encode) -> None:
    image = Image.new("RGB", (5, 4))
    for name in ("PNG", "TIFF"):
        options: dict[str, Any] = {"dpi": (72, 72), "icc_profile": metadata.icc_profile}
        if name == "TIFF":
            exif = Image.Exif()
            exif.update({700: b"<old/>", 33723: b"\x1c\x02\x78\0\3old"})
            options["exif"] = exif
        with Image.open(
            io.BytesIO(FORMATS[name].embed(encode(image, name, **options), [Metadata()]))
        ) as again:
            assert read_metadata(again, False) == Metadata()


def test_a_large_profile_goes_into_several_segments(encode: Encode, metadata: Metadata) -> None:
    profile = (metadata.icc_profile or b"") + bytes(range(256)) * 800
    for name in HERE:
        file, _fit = written(Image.new("RGB", (5, 4)), Metadata(icc_profile=profile), name, encode)
        with Image.open(io.BytesIO(file)) as again:
            assert again.info["icc_profile"] == profile


def test_others_are_left_as_they_are(metadata: Metadata) -> None:
    for name in FORMATS.keys() - {"PNG", "TIFF"}:
        assert FORMATS[name].embed(b"a file", [metadata]) == b"a file"
    assert FORMATS["PNG"].metadata_options(metadata) == FORMATS["TIFF"].metadata_options(metadata) == {}
    bitmap = fitted(metadata, FORMATS["BMP"], 1, 1)
    assert FORMATS["BMP"].metadata_options(bitmap) == {"dpi": (300.0, 150.0)}


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not here")
def test_exiftool_reads_all_of_it(metadata: Metadata, encode: Encode, tmp_path: Path) -> None:
    for name in HERE:
        file, _fit = written(Image.new("RGB", (40, 30)), metadata, name, encode)
        (tmp_path / f"picture.{name.lower()}").write_bytes(file)
    command = ["exiftool", "-json", "-n", "-G0", "-a", "-validate", "-warning", *map(str, tmp_path.iterdir())]
    tags = ["-EXIF:all", "-XMP:all", "-IPTC:all", "-ICC_Profile:all", "-GPSPosition"]
    listed = json.loads(
        subprocess.run(command[:1] + tags + command[1:], capture_output=True, check=True).stdout
    )
    assert len(listed) == len(HERE)
    for found in listed:
        assert found["EXIF:ProcessingSoftware"] == "esc-upscale 1"
        assert found["EXIF:DateTimeOriginal"] == "2024:01:02 03:04:05"
        assert (found["EXIF:ExifImageWidth"], found["EXIF:ExifImageHeight"]) == (40, 30)
        assert (found["EXIF:XResolution"], found["EXIF:YResolution"]) == (300, 150)
        assert found["Composite:GPSPosition"].startswith("52.0252777")
        assert found["XMP:Label"] == "a label"
        assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"
        assert "EXIF:Orientation" not in found
        if found["SourceFile"].endswith(("png", "jpeg", "tiff")):
            assert (found["IPTC:Caption-Abstract"], found["IPTC:Keywords"]) == ("A caption", "bird")


def test_the_profiles_of_the_tests_are_real(srgb_profile: bytes) -> None:
    profile = ImageCms.ImageCmsProfile(io.BytesIO(srgb_profile))
    assert ImageCms.getProfileDescription(profile).strip() == "sRGB built-in"
