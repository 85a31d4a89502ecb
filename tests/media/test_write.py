import dataclasses
import io
import subprocess
from collections.abc import Callable

import av
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin

from esc_cli.errors import OutputError, UsageError
from esc_cli.media.color.profiles import Primaries, rgb_profile, srgb_curve
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.encoding import pillow_image
from esc_cli.media.formats.registry import FORMATS, WRITTEN
from esc_cli.media.metadata.fitting import metadata_lost
from esc_cli.media.metadata.kinds import ALL_METADATA, Metadata
from esc_cli.media.picture import AnimationTiming, Picture, PictureFile, WriteSettings
from esc_cli.media.read import picture_from_image, read_file, read_picture
from esc_cli.media.write import encode_file

MakePicture = Callable[..., Picture]

LOSSLESS = ("PNG", "WEBP", "TIFF")
INSTALLED = sorted(one.name for one in WRITTEN if one.is_installed() and not one.scene_linear)
"""The formats for screens. Those of light have tests of their own."""
WITH_ALPHA = [name for name in INSTALLED if FORMATS[name].alpha and name != "GIF"]


def encoded(picture: Picture, format: PictureFormat, quality: int | None = None) -> bytes:
    return encode_file(PictureFile((picture,)), format, WriteSettings(quality))


def reopened(picture: Picture, name: str, quality: int | None = None) -> Image.Image:
    """Return the picture's file as Pillow reads it."""
    content = encoded(picture, FORMATS[name], quality)
    FORMATS[name].load_plugin()
    image = Image.open(io.BytesIO(content), formats=[FORMATS[name].pillow_name])
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
    again = read_picture(encoded(picture, FORMATS[name]))
    assert again.gray == (gray and name in ("PNG", "TIFF", "JPEG XL"))


@pytest.mark.parametrize("name", ["JPEG", "BMP"])
def test_without_alpha_the_background_is_white(make_picture: MakePicture, name: str) -> None:
    for gray, mode in ((False, "RGB"), (True, "L")):
        image = reopened(make_picture(gray=gray, alpha=True), name)
        assert image.mode == mode
        assert np.asarray(image)[:, 0].min() >= 250  # the left edge is transparent


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("alpha", [False, True])
def test_metadata_is_embedded_or_its_loss_said(
    make_picture: MakePicture, metadata: Metadata, name: str, alpha: bool
) -> None:
    picture = make_picture(metadata=metadata, alpha=alpha)
    again = read_picture(encoded(picture, FORMATS[name])).metadata
    lost = " ".join(metadata_lost(metadata, FORMATS[name]))
    assert (again.icc_profile == metadata.icc_profile) != ("color profile" in lost)
    assert (again.xmp == metadata.xmp) != ("XMP" in lost)
    assert (again.dpi == (300, 300)) != ("resolution" in lost)
    exif = reopened(picture, name).getexif()
    assert (exif.get(271) == "maker") != ("EXIF" in lost)
    if "EXIF" not in lost:
        assert exif.get_ifd(0x8825)[1] == "N"
        details = exif.get_ifd(0x8769)
        assert details[0x9003] == "2024:01:02 03:04:05"
        assert (details[0xA003], details[0xA002]) == (picture.height, picture.width)


def test_what_was_read_is_what_is_read_again(make_picture: MakePicture, metadata: Metadata) -> None:
    picture = make_picture(metadata=metadata, alpha=True)
    for name in LOSSLESS:
        again = read_picture(encoded(picture, FORMATS[name]))
        assert again.color.equal(picture.color) or name == "WEBP"  # WebP drops invisible colors
        assert again.alpha is not None
        assert picture.alpha is not None
        assert again.alpha.equal(picture.alpha)
        assert again.notes == ()
        assert again.metadata.icc_profile == metadata.icc_profile
        assert again.metadata.xmp == metadata.xmp


@pytest.mark.parametrize("deep", [False, True])
def test_tiff_is_compressed_with_a_cameras_exif(
    make_picture: MakePicture, metadata: Metadata, deep: bool
) -> None:
    picture = make_picture(metadata=metadata)
    picture = with_16_bits(picture) if deep else picture
    image = reopened(picture, "TIFF")
    assert image.info["compression"] == ("tiff_adobe_deflate" if deep else "tiff_lzw")
    again = read_file(encoded(picture, FORMATS["TIFF"])).first
    assert again.color.equal(picture.color)
    assert again.metadata.exif is not None
    assert image.getexif()[271] == "maker"


def test_only_what_is_kept_is_written(make_picture: MakePicture, metadata: Metadata) -> None:
    file = PictureFile((make_picture(metadata=metadata),))
    for name in INSTALLED:
        nothing = WriteSettings(keep=frozenset(), provenance="made by a test")
        bare = read_picture(encode_file(file, FORMATS[name], nothing)).metadata
        xmp = read_picture(encode_file(file, FORMATS[name], WriteSettings(keep=frozenset({"xmp"})))).metadata
        if name == "JPEG XL":  # its decoder returns an sRGB profile if there is none
            bare, xmp = (dataclasses.replace(read, icc_profile=None) for read in (bare, xmp))
        assert bare == Metadata(), name
        assert xmp == Metadata(xmp=metadata.xmp if "xmp" in FORMATS[name].holds else None), name


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("deep", [False, True])
def test_provenance_is_written(make_picture: MakePicture, name: str, deep: bool) -> None:
    picture = with_16_bits(make_picture()) if deep else make_picture()
    content = encode_file(PictureFile((picture,)), FORMATS[name], WriteSettings(provenance="made by a test"))
    FORMATS[name].load_plugin()
    with Image.open(io.BytesIO(content), formats=[FORMATS[name].pillow_name]) as image:
        image.load()
        said = image.getexif().get(ExifTags.Base.ProcessingSoftware)
    assert said == ("made by a test" if "exif" in FORMATS[name].holds else None)


def test_without_its_profile_a_picture_becomes_srgb(make_picture: MakePicture) -> None:
    """By the matrices of CSS Color 4, (200, 100, 50) in Display P3 is (215, 93, 31) in sRGB."""
    primaries = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
    picture = make_picture(metadata=Metadata(icc_profile=rgb_profile(primaries, srgb_curve())))
    picture = dataclasses.replace(picture, color=solid((200, 100, 50)))
    kept = encode_file(PictureFile((picture,)), FORMATS["PNG"])
    assert read_picture(kept).color.equal(picture.color)
    for name, keep in (("BMP", ALL_METADATA), ("PNG", frozenset())):
        converted = read_picture(
            encode_file(PictureFile((picture,)), FORMATS[name], WriteSettings(keep=keep))
        )
        assert converted.metadata.icc_profile is None
        assert (converted.color[0, :, 0, 0] - torch.tensor((215, 93, 31))).abs().max() <= 1


# More than 8 bits


def solid(color: tuple[int, int, int]) -> torch.Tensor:
    return torch.tensor(color, dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 8, 8).contiguous()


def with_16_bits(picture: Picture) -> Picture:
    """Return the picture in 16 bits, with noise in the low bytes."""
    noise = torch.randint(0, 256, picture.color.shape[2:]).to(torch.int32)
    color, alpha = (
        None if plane is None else (plane.to(torch.int32) * 256 + noise).to(torch.uint16)
        for plane in (picture.color, picture.alpha)
    )
    assert color is not None
    return dataclasses.replace(picture, color=color, alpha=alpha, depth_bits=16)


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_16_bits_are_kept(make_picture: MakePicture, name: str, gray: bool, alpha: bool) -> None:
    picture = with_16_bits(make_picture(gray=gray, alpha=alpha))
    content = encoded(picture, FORMATS[name])
    again = read_file(content).first
    assert again.color.equal(picture.color)
    assert again.alpha is None if picture.alpha is None else picture.alpha.equal(again.alpha)
    assert (again.gray, again.depth_bits, again.notes) == (gray, 16, ())
    if name == "PNG":
        assert content[24:26] == bytes((16, {(0, 0): 0, (0, 1): 4, (1, 0): 2, (1, 1): 6}[not gray, alpha]))


@pytest.mark.usefixtures("imagemagick")
@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_imagemagick_reads_our_16_bits(make_picture: MakePicture, name: str) -> None:
    picture = with_16_bits(make_picture(alpha=True))
    assert picture.alpha is not None
    theirs = subprocess.check_output(
        ["convert", f"{name}:-", "-depth", "16", "-endian", "LSB", "rgba:-"],
        input=encoded(picture, FORMATS[name]),
    )
    ours = torch.cat((picture.color, picture.alpha), dim=1)[0].permute(1, 2, 0).numpy()
    assert theirs == ours.astype("<u2").tobytes()


@pytest.mark.parametrize(("gray", "alpha"), [(False, False), (True, False), (False, True)])
def test_floats_are_kept_in_tiff_in_their_own_range(
    make_picture: MakePicture, gray: bool, alpha: bool
) -> None:
    picture = make_picture(gray=gray, alpha=alpha)
    floats = dataclasses.replace(
        picture,
        color=picture.color / 255,
        alpha=None if picture.alpha is None else picture.alpha / 255,
        depth_bits=32,
        value_range=(-2.0, 255.0),
    )
    content = encoded(floats, FORMATS["TIFF"])
    again = read_file(content).first
    assert again.depth_bits == 32
    # No value is -2, and none need be 255, so the range that is read may differ. The numbers do not.
    low, high = again.value_range
    stored = again.color * (high - low) + low
    assert (stored - (floats.color * 257 - 2)).abs().max() < 1e-4
    if floats.alpha is not None:
        assert again.alpha is not None
        assert again.alpha.equal(floats.alpha)
    assert read_file(encoded(floats, FORMATS["PNG"])).first.depth_bits == 16
    assert read_file(encoded(floats, FORMATS["BMP"])).first.depth_bits == 8


def test_pillow_reads_our_gray_floats(make_picture: MakePicture) -> None:
    values = torch.linspace(0, 1, 60).view(1, 1, 6, 10).expand(-1, 3, -1, -1)
    floats = dataclasses.replace(make_picture(gray=True), color=values, depth_bits=32, value_range=(0, 100))
    image = reopened(floats, "TIFF")
    assert image.mode == "F"
    assert np.array_equal(np.asarray(image), values[0, 0].numpy() * np.float32(100))


@pytest.mark.parametrize(("depth", "kind"), [(10, "yuv444p10le"), (12, "yuv444p12le"), (16, "yuv444p12le")])
@pytest.mark.parametrize("alpha", [False, True])
def test_deep_avif_has_its_bits_and_all_of_its_color(
    make_picture: MakePicture, depth: int, kind: str, alpha: bool
) -> None:
    """FFmpeg decodes with dav1d, which is independent of libvips."""
    picture = dataclasses.replace(with_16_bits(make_picture(64, 96, alpha=alpha)), depth_bits=depth)
    smooth = torch.linspace(0, 65_535, 96).to(torch.uint16).expand(1, 3, 64, 96).contiguous()
    picture = dataclasses.replace(picture, color=smooth)
    content = encoded(picture, FORMATS["AVIF"])
    with av.open(io.BytesIO(content)) as container:
        frame = next(container.decode(video=0))
    assert frame.format.name == kind
    again = read_file(content).first
    assert again.depth_bits == min(depth, 12)
    difference = again.color.to(torch.int32) - smooth.to(torch.int32)
    assert difference.abs().float().mean() < 65_535 / 1023
    assert (again.alpha is not None) == alpha


def test_metadata_of_a_deep_avif_is_not_rewritten(make_picture: MakePicture, metadata: Metadata) -> None:
    exif = Image.Exif()
    exif[0x4746], exif[271] = 4, "maker"  # a rating, a tag that libexif does not know
    picture = with_16_bits(
        make_picture(metadata=dataclasses.replace(metadata, exif=exif.tobytes(), dpi=None))
    )
    again = read_file(encoded(picture, FORMATS["AVIF"])).first.metadata
    assert again.icc_profile == metadata.icc_profile
    assert again.xmp == metadata.xmp
    kept = Image.Exif()
    kept.load(again.exif or b"")
    assert (kept[0x4746], kept[271]) == (4, "maker")


def test_as_many_bits_as_the_format_has(make_picture: MakePicture) -> None:
    picture = with_16_bits(make_picture(alpha=True))
    assert picture.alpha is not None
    for name in ("WEBP", "BMP"):
        again = read_picture(encoded(picture, FORMATS[name])).color
        opacity = picture.alpha / 65_535 if name == "BMP" else 1
        expected = (picture.color / 257 - 255) * opacity + 255
        visible = picture.alpha.expand(-1, 3, -1, -1).float() > 257
        assert (again - expected)[visible].abs().max() <= 0.51


def test_images_keep_their_bits_where_pillow_can(make_picture: MakePicture) -> None:
    deep = with_16_bits(make_picture(gray=True))
    assert picture_from_image(pillow_image(deep)).color.equal(deep.color)
    assert pillow_image(with_16_bits(make_picture(alpha=True))).mode == "RGBA"


# Several pictures


def animation(make_picture: MakePicture, deep: bool = False) -> PictureFile:
    one, two = make_picture(16, 24), make_picture(16, 24)
    two = dataclasses.replace(two, color=255 - two.color)
    if deep:
        one, two = with_16_bits(one), with_16_bits(two)
    return PictureFile((one, two, one), AnimationTiming((100.0, 50.0, 200.0), loop=3))


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
@pytest.mark.parametrize("deep", [False, True])
def test_animations_stay_animated(make_picture: MakePicture, name: str, deep: bool) -> None:
    file = animation(make_picture, deep)
    again = read_file(encode_file(file, FORMATS[name]))
    assert again.timing == file.timing
    assert again.pictures[2] is again.pictures[0]
    for before, after in zip(file.pictures, again.pictures, strict=True):
        assert after.depth_bits == 8
        narrow = before.color.float() / (257 if deep else 1)
        assert (after.color - narrow).abs().max() <= 0.51


def test_an_animation_becomes_pages(make_picture: MakePicture) -> None:
    file = animation(make_picture, deep=True)
    again = read_file(encode_file(file, FORMATS["TIFF"]))
    assert again.timing is None
    assert [picture.depth_bits for picture in again.pictures] == [16, 16, 16]
    assert all(one.color.equal(two.color) for one, two in zip(file.pictures, again.pictures, strict=True))


def test_pages_keep_their_depth_size_and_metadata(make_picture: MakePicture, metadata: Metadata) -> None:
    pages = (
        make_picture(metadata=metadata),
        with_16_bits(make_picture(10, 12, gray=True, metadata=Metadata(dpi=(150, 150)))),
        make_picture(5, 6, alpha=True),
        dataclasses.replace(make_picture(), color=make_picture().color / 255, depth_bits=32),
    )
    again = read_file(encode_file(PictureFile(pages), FORMATS["TIFF"])).pictures
    assert [picture.depth_bits for picture in again] == [8, 16, 8, 32]
    for before, after in zip(pages[:3], again, strict=False):
        assert after.color.equal(before.color)
        assert (after.alpha is None) == (before.alpha is None)
    assert again[0].metadata.xmp == metadata.xmp
    assert [picture.metadata.dpi for picture in again] == [(300, 300), (150, 150), None, None]
    assert [picture.metadata.icc_profile for picture in again] == [metadata.icc_profile, None, None, None]


def test_only_the_first_where_one_is_held(make_picture: MakePicture) -> None:
    pages = PictureFile((make_picture(), make_picture(5, 6)))
    for name in ("JPEG", "PNG", "WEBP"):
        (only,) = read_file(encode_file(pages, FORMATS[name])).pictures
        assert (only.height, only.width) == (24, 40)
    assert len(read_file(encode_file(animation(make_picture), FORMATS["BMP"])).pictures) == 1


@pytest.mark.parametrize("name", sorted(name for name, format in FORMATS.items() if "exif" in format.holds))
def test_exif_keeps_its_text_and_odd_tags(make_picture: MakePicture, name: str) -> None:
    exif = Image.Exif()
    utf8, latin = "© Zoë".encode(), "é".encode("latin-1")
    exif.update({0x8298: utf8, 0x9C9B: b"t\0i\0", 0x4746: 4, 0xC4A5: b"PrintIM\x000300"})
    exif.get_ifd(0x8769)[0xA430] = latin
    source = encoded(make_picture(metadata=Metadata(exif=exif.tobytes())), FORMATS["PNG"])
    kept = reopened(read_picture(source), name).getexif()
    assert kept[0x8298].encode("latin-1") == utf8
    assert kept.get_ifd(0x8769)[0xA430] in (latin, latin.decode("latin-1"))
    assert (bytes(kept[0x9C9B]), kept[0x4746], kept[0xC4A5]) == (b"t\0i\0", 4, b"PrintIM\x000300")


def test_a_gray_profile_goes_with_gray(make_picture: MakePicture) -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    picture = make_picture(gray=True, metadata=Metadata(icc_profile=bytes(profile)))
    for name in ("PNG", "JPEG", "TIFF"):
        assert read_picture(encoded(picture, FORMATS[name])).metadata.icc_profile == bytes(profile)


def test_gray_is_written_gray_though_the_planes_differ(make_picture: MakePicture) -> None:
    picture = make_picture()
    image = reopened(dataclasses.replace(picture, gray=True), "PNG")
    assert image.mode == "L"


def test_jpeg_is_made_of_full_color_resolution_and_quality_counts(make_picture: MakePicture) -> None:
    picture = make_picture(200, 200)
    image = reopened(picture, "JPEG")
    assert JpegImagePlugin.get_sampling(image) == 0
    sizes = [len(encoded(picture, FORMATS["JPEG"], quality)) for quality in (20, 95, None)]
    assert sizes[0] < sizes[1] == sizes[2]


@pytest.mark.parametrize("name", ["WEBP", "JPEG XL"])
def test_what_can_be_lossless_is_unless_there_is_a_reason(make_picture: MakePicture, name: str) -> None:
    format = FORMATS[name]
    if not format.is_installed():
        pytest.skip(f"{name} is not installed")

    def is_lossless(picture: Picture, quality: int | None = None) -> bool:
        return torch.equal(read_picture(encoded(picture, format, quality)).color, picture.color)

    assert is_lossless(make_picture())
    assert not is_lossless(make_picture(), 90)
    assert not is_lossless(make_picture(format="JPEG"))


def test_what_jpeg_has_no_room_for_is_left_out(make_picture: MakePicture) -> None:
    metadata = Metadata(xmp=b"x" * 70_000)
    image = reopened(make_picture(metadata=metadata), "JPEG")
    assert "xmp" not in image.info
    assert metadata_lost(metadata, FORMATS["JPEG"]) == ("JPEG cannot hold XMP of this size",)


def test_too_large_is_refused_before_encoding(make_picture: MakePicture) -> None:
    wide = Picture(torch.zeros((1, 3, 1, 20_000), dtype=torch.uint8), None, False, Metadata(), "PNG")
    with pytest.raises(OutputError, match="16383"):
        encoded(wide, FORMATS["WEBP"])


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_impossible_qualities(make_picture: MakePicture, quality: int) -> None:
    with pytest.raises(UsageError, match="1 to 100"):
        encoded(make_picture(), FORMATS["JPEG"], quality)
