import dataclasses
import io
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, JpegImagePlugin

from esc_cli.errors import OutputError, UsageError
from esc_cli.media.formats import FORMATS
from esc_cli.media.metadata import metadata_lost
from esc_cli.media.picture import Metadata, Picture
from esc_cli.media.read import read_picture
from esc_cli.media.write import encode_picture

MakePicture = Callable[..., Picture]

LOSSLESS = ("PNG", "WEBP", "TIFF")
WITH_ALPHA = sorted(name for name, format in FORMATS.items() if format.alpha)


def reopened(picture: Picture, name: str, quality: int | None = None) -> Image.Image:
    """What Pillow makes of our file."""
    image = Image.open(io.BytesIO(encode_picture(picture, FORMATS[name], quality)), formats=[name])
    image.load()
    return image


@pytest.fixture
def metadata(srgb_profile: bytes) -> Metadata:
    exif = Image.Exif()
    exif[271] = "maker"
    exif.get_ifd(0x8769).update({0xA002: 10, 0xA003: 6, 0x9003: "2024:01:02 03:04:05"})
    exif.get_ifd(0x8825)[1] = "N"
    return Metadata(srgb_profile, exif.tobytes(), b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", (300.0, 300.0))


@pytest.mark.parametrize("name", [*LOSSLESS, "BMP"])
@pytest.mark.parametrize("gray", [False, True])
def test_lossless_formats_keep_every_bit(make_picture: MakePicture, name: str, gray: bool) -> None:
    picture = make_picture(gray=gray)
    image = reopened(picture, name)
    expected = picture.color[0].permute(1, 2, 0).numpy()
    assert np.array_equal(np.asarray(image.convert("RGB")), expected)
    assert image.mode == ("L" if gray and name != "WEBP" else "RGB")


@pytest.mark.parametrize("name", ["JPEG", "AVIF"])
@pytest.mark.parametrize("gray", [False, True])
def test_lossy_formats_come_near(make_picture: MakePicture, name: str, gray: bool) -> None:
    picture = make_picture(64, 80, gray=gray)
    image = reopened(picture, name)
    difference = np.asarray(image.convert("RGB")).astype(int) - picture.color[0].permute(1, 2, 0).numpy()
    assert np.abs(difference).mean() < 1.5
    assert image.mode == ("L" if gray else "RGB")


@pytest.mark.parametrize("name", WITH_ALPHA)
@pytest.mark.parametrize("gray", [False, True])
def test_alpha_is_kept(make_picture: MakePicture, name: str, gray: bool) -> None:
    picture = make_picture(gray=gray, alpha=True)
    alpha = np.asarray(reopened(picture, name).getchannel("A"))
    assert picture.alpha is not None
    assert np.abs(alpha.astype(int) - picture.alpha[0, 0].numpy()).max() <= (0 if name in LOSSLESS else 3)
    again = read_picture(encode_picture(picture, FORMATS[name]))
    assert again.gray == (gray and name in ("PNG", "TIFF"))


@pytest.mark.parametrize("name", ["JPEG", "BMP"])
def test_without_alpha_the_background_is_white(make_picture: MakePicture, name: str) -> None:
    for gray, mode in ((False, "RGB"), (True, "L")):
        image = reopened(make_picture(gray=gray, alpha=True), name)
        assert image.mode == mode
        assert np.asarray(image)[:, 0].min() >= 250  # transparent at the left


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize("alpha", [False, True])
def test_metadata_is_embedded_or_its_loss_said(
    make_picture: MakePicture, metadata: Metadata, name: str, alpha: bool
) -> None:
    picture = make_picture(metadata=metadata, alpha=alpha)
    image = reopened(picture, name)
    lost = " ".join(metadata_lost(metadata, FORMATS[name]))
    assert (image.info.get("icc_profile") == metadata.icc_profile) != ("color profile" in lost)
    assert (image.info.get("xmp") == metadata.xmp) != ("XMP" in lost)
    assert (round(image.info.get("dpi", (0, 0))[0]) == 300) != ("resolution" in lost)
    exif = image.getexif()
    assert (exif.get(271) == "maker") != ("EXIF" in lost)
    if "EXIF" not in lost:
        assert exif.get_ifd(0x8825)[1] == "N"
        details = exif.get_ifd(0x8769)
        assert details[0x9003] == "2024:01:02 03:04:05"
        assert (details[0xA003], details[0xA002]) == (picture.height, picture.width)


def test_what_was_read_is_what_is_read_again(make_picture: MakePicture, metadata: Metadata) -> None:
    picture = make_picture(metadata=metadata, alpha=True)
    for name in LOSSLESS:
        again = read_picture(encode_picture(picture, FORMATS[name]))
        assert again.color.equal(picture.color) or name == "WEBP"  # WebP drops colors that nobody sees
        assert again.alpha is not None
        assert picture.alpha is not None
        assert again.alpha.equal(picture.alpha)
        assert again.notes == ()
        assert again.metadata.icc_profile == metadata.icc_profile
        assert again.metadata.xmp == metadata.xmp


def test_tiff_is_compressed_unless_a_cameras_exif_prevents_it(
    make_picture: MakePicture, metadata: Metadata
) -> None:
    flat = Image.Exif()
    flat[271], flat[305] = "maker", "program"
    for exif, compression in ((None, "tiff_lzw"), (flat.tobytes(), "tiff_lzw"), (metadata.exif, "raw")):
        picture = make_picture(metadata=dataclasses.replace(metadata, exif=exif))
        image = reopened(picture, "TIFF")
        assert image.info["compression"] == compression
        assert image.info["xmp"] == metadata.xmp
        again = read_picture(encode_picture(picture, FORMATS["TIFF"]))
        assert again.color.equal(picture.color)
        kept = Image.Exif()
        kept.load(again.metadata.exif or b"")
        assert kept.get(271) == ("maker" if exif else None)
        assert again.metadata.dpi == (300.0, 300.0)


@pytest.mark.parametrize("name", sorted(name for name, format in FORMATS.items() if "exif" in format.holds))
def test_exif_keeps_its_text_and_odd_tags(make_picture: MakePicture, name: str) -> None:
    exif = Image.Exif()
    utf8, latin = "© Zoë".encode(), "é".encode("latin-1")
    exif.update({0x8298: utf8, 0x9C9B: b"t\0i\0", 0x4746: 4, 0xC4A5: b"PrintIM\x000300"})
    exif.get_ifd(0x8769)[0xA430] = latin
    source = encode_picture(make_picture(metadata=Metadata(exif=exif.tobytes())), FORMATS["PNG"])
    kept = reopened(read_picture(source), name).getexif()
    assert kept[0x8298].encode("latin-1") == utf8
    assert kept.get_ifd(0x8769)[0xA430] in (latin, latin.decode("latin-1"))
    assert (bytes(kept[0x9C9B]), kept[0x4746], kept[0xC4A5]) == (b"t\0i\0", 4, b"PrintIM\x000300")


def test_a_gray_profile_goes_with_gray(make_picture: MakePicture) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    picture = make_picture(gray=True, metadata=Metadata(icc_profile=bytes(profile)))
    for name in ("PNG", "JPEG", "TIFF"):
        assert read_picture(encode_picture(picture, FORMATS[name])).metadata.icc_profile == bytes(profile)


def test_gray_is_written_gray_though_the_planes_differ(make_picture: MakePicture) -> None:
    picture = make_picture()
    image = reopened(dataclasses.replace(picture, gray=True), "PNG")
    assert image.mode == "L"


def test_jpeg_is_made_of_full_color_resolution_and_quality_counts(make_picture: MakePicture) -> None:
    picture = make_picture(200, 200)
    image = reopened(picture, "JPEG")
    assert JpegImagePlugin.get_sampling(image) == 0
    sizes = [len(encode_picture(picture, FORMATS["JPEG"], quality)) for quality in (20, 95, None)]
    assert sizes[0] < sizes[1] == sizes[2]


def test_webp_is_lossless_unless_there_is_a_reason(make_picture: MakePicture) -> None:
    def kind(picture: Picture, quality: int | None = None) -> bytes:
        return encode_picture(picture, FORMATS["WEBP"], quality)[12:16]

    assert kind(make_picture()) == b"VP8L"
    assert kind(make_picture(), 90) == b"VP8 "
    assert kind(make_picture(format="JPEG")) == b"VP8 "


def test_what_jpeg_has_no_room_for_is_left_out(make_picture: MakePicture) -> None:
    metadata = Metadata(xmp=b"x" * 70_000)
    image = reopened(make_picture(metadata=metadata), "JPEG")
    assert "xmp" not in image.info
    assert metadata_lost(metadata, FORMATS["JPEG"]) == ("JPEG cannot hold XMP",)


def test_too_large_is_refused_before_encoding(make_picture: MakePicture) -> None:
    wide = Picture(torch.zeros((1, 3, 1, 20_000), dtype=torch.uint8), None, False, Metadata(), "PNG")
    with pytest.raises(OutputError, match="16383"):
        encode_picture(wide, FORMATS["WEBP"])


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_impossible_qualities(make_picture: MakePicture, quality: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        encode_picture(make_picture(), FORMATS["JPEG"], quality)
