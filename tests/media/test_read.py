import dataclasses
import io
import subprocess
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageOps, TiffImagePlugin
from torch import Tensor

from esc_cli.enhancement.resize import resize
from esc_cli.errors import InputError
from esc_cli.media.opening import opened
from esc_cli.media.picture import Picture
from esc_cli.media.pillow import LARGEST_INPUT_PX
from esc_cli.media.pixels.alpha import largest_value
from esc_cli.media.probe import probe
from esc_cli.media.read import picture_from_image, read_file, read_picture, read_small

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
CORPUS_FILES = sorted(path for path in CORPUS.glob("*.*") if path.suffix not in (".md", ".csv"))

Encode = Callable[..., bytes]


def pixels(color: Tensor) -> list[list[list[int]]]:
    """Return a tensor of shape (1, C, H, W) as rows of pixels."""
    return color[0].permute(1, 2, 0).tolist()


def pattern(mode: str) -> Image.Image:
    """Return a picture that every rotation and every flip changes."""
    values = np.arange(6 * 4 * len(Image.new(mode, (1, 1)).getbands()), dtype=np.uint8).reshape(4, 6, -1)
    return Image.fromarray(values.squeeze())


# Contents of files


@pytest.mark.parametrize("format", ["PNG", "WEBP", "BMP", "TIFF"])
def test_rgb_is_read_as_it_is(encode: Encode, format: str) -> None:
    image = pattern("RGB")
    picture = read_picture(encode(image, format, **({"lossless": True} if format == "WEBP" else {})))
    assert pixels(picture.color) == np.asarray(image).tolist()
    assert (picture.alpha, picture.gray, picture.format, picture.notes) == (None, False, format, ())
    assert (picture.height, picture.width) == (4, 6)
    assert picture.color.dtype == torch.uint8
    assert picture.color.is_contiguous()


def test_gray_and_its_alpha(encode: Encode) -> None:
    gray = read_picture(encode(pattern("L"), "PNG"))
    assert gray.gray
    assert gray.alpha is None
    assert (gray.color == gray.color[:, :1]).all()
    with_alpha = read_picture(encode(pattern("LA"), "PNG"))
    assert with_alpha.gray
    assert with_alpha.alpha is not None
    assert with_alpha.alpha[0, 0].tolist() == np.asarray(pattern("LA"))[..., 1].tolist()


def test_rgba_colors_are_not_multiplied(encode: Encode) -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 50, 3))
    picture = read_picture(encode(image, "PNG"))
    assert pixels(picture.color) == [[[200, 100, 50]]]
    assert picture.alpha is not None
    assert picture.alpha.item() == 3


def test_palette_with_transparency(encode: Encode) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.putdata([0, 1, 2])
    opaque = read_picture(encode(image, "PNG"))
    assert opaque.alpha is None
    assert not opaque.gray
    assert pixels(opaque.color) == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
    several = read_picture(encode(image, "PNG", transparency=bytes((0, 128))))
    assert several.alpha is not None
    assert several.alpha.flatten().tolist() == [0, 128, 255]
    one = read_picture(encode(image, "GIF", transparency=1))
    assert one.alpha is not None
    assert one.alpha.flatten().tolist() == [255, 0, 255]


def test_bilevel_with_a_transparent_color(make_png: Callable[..., bytes]) -> None:
    picture = read_picture(make_png((1, 2), 1, 0, [b"\x40"], before={b"tRNS": b"\0\1"}))
    assert picture.gray
    assert pixels(picture.color) == [[[0, 0, 0], [255, 255, 255]]]
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [255, 0]


@pytest.mark.parametrize(("depth", "row"), [(2, 0b00011011), (4, 0x01)])
def test_a_transparent_gray_of_few_bits(make_png: Callable[..., bytes], depth: int, row: int) -> None:
    picture = read_picture(make_png((1, 8 // depth), depth, 0, [bytes([row])], before={b"tRNS": b"\0\1"}))
    assert picture.alpha is not None
    assert (picture.alpha == 0).flatten().tolist() == [index == 1 for index in range(8 // depth)]


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(InputError, match="has no pixels"):
        picture_from_image(Image.new("RGB", (0, 5)))


def test_16_bit_gray_is_rounded(make_png: Callable[..., bytes]) -> None:
    values = np.array([0, 128, 129, 257, 32767, 65406, 65535], dtype=">u2")
    picture = read_picture(make_png((1, 7), 16, 0, [values.tobytes()], before={b"tRNS": b"\1\1"}))
    assert picture.gray
    assert picture.color[0, 0, 0].tolist() == [0, 0, 1, 1, 127, 254, 255]  # round(value / 257)
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [255, 255, 255, 0, 255, 255, 255]
    assert picture.notes == ("16 bits per channel were reduced to 8",)


def test_16_bit_color_is_noted(make_png: Callable[..., bytes]) -> None:
    row = np.array([[0x1234, 0, 0xFFFF], [0, 0, 0]], dtype=">u2").tobytes()
    picture = read_picture(make_png((1, 2), 16, 2, [row], before={b"tRNS": row[:6]}))
    assert pixels(picture.color) == [[[0x12, 0, 0xFF], [0, 0, 0]]]
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [0, 255]
    assert picture.notes == ("16 bits per channel were reduced to 8",)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1.0, np.nan]], np.float32), [0, 128, 255, 0]),
        (np.array([[0, 51, 255, -1]], np.float32), [1, 52, 255, 0]),
        (np.array([[0, 257, 65535, 1000]], np.int32), [0, 1, 255, 4]),
        (np.array([[0, 50_000, 100_000, np.inf]], np.float32), [0, 128, 255, 255]),
    ],
)
def test_wide_values_take_the_smallest_usual_range(
    encode: Encode, values: npt.NDArray[np.generic], expected: list[int]
) -> None:
    picture = read_picture(encode(Image.fromarray(values), "TIFF"))
    assert picture.gray
    assert picture.color[0, 0, 0].tolist() == expected
    what = "32" if values.dtype.kind == "f" else "16"
    assert picture.notes[-1] == f"{what} bits per channel were reduced to 8"


def test_16_bit_tiff_with_white_at_zero(encode: Encode) -> None:
    image = Image.fromarray(np.array([[0, 65535]], np.uint16))
    picture = read_picture(encode(image, "TIFF", tiffinfo={262: 0}))
    assert picture.color[0, 0, 0].tolist() == [255, 0]


def test_cmyk_through_its_profile(encode: Encode, red_ink_profile: bytes) -> None:
    image = Image.new("CMYK", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 0))
    plain = read_picture(encode(image, "TIFF"))
    assert pixels(plain.color) == [[[0, 255, 255], [255, 255, 255]]]
    managed = read_picture(encode(image, "TIFF", icc_profile=red_ink_profile))
    red, white = pixels(managed.color)[0]
    assert red[0] > 230
    assert max(red[1:]) < 25
    assert min(white) >= 254
    assert managed.metadata.icc_profile is None
    assert managed.notes == ("CMYK was converted to sRGB through its color profile",)
    broken = read_picture(encode(image, "TIFF", icc_profile=red_ink_profile[:200]))
    assert pixels(broken.color) == pixels(plain.color)


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_one_true_note_is_said_before_the_work(
    format: str, mode: str, encode: Encode, srgb_profile: bytes, red_ink_profile: bytes
) -> None:
    """A profile for other colors is not used, and not kept either."""
    if (format, mode) == ("JPEG", "LAB"):
        pytest.skip("JPEG has no Lab")
    for profile in (None, srgb_profile, red_ink_profile, red_ink_profile[:200], b"no profile"):
        content = encode(Image.new(mode, (2, 2)), format, icc_profile=profile)
        picture = read_picture(content)
        usable = profile == red_ink_profile
        note = {
            ("CMYK", True): "CMYK was converted to sRGB through its color profile",
            ("CMYK", False): "CMYK without a usable color profile was converted with a simple formula",
        }.get((mode, usable), "Lab colors were converted to sRGB")
        assert probe(content).notes == picture.notes == (note,)
        assert picture.metadata.icc_profile is None
        assert "icc_profile" not in probe(content).parts


def test_lab_is_converted(encode: Encode) -> None:
    picture = read_picture(encode(Image.new("LAB", (1, 1), (128, 128, 128)), "TIFF"))
    color = picture.color.flatten()
    assert (color - 119).abs().max() <= 2  # L* 50 is sRGB 119


def test_avif_of_ten_bits_is_noted(encode: Encode) -> None:
    file = encode(pattern("RGB"), "AVIF")
    at = file.index(b"av1C") + 6
    for flags, depth in ((0x00, 8), (0x40, 10), (0x60, 12)):
        with opened(file) as avif:  # Pillow encodes only 8 bits, so only the header is changed
            header = file[:at] + bytes((file[at] | flags,)) + file[at + 1 :]
            assert avif.format.depth_bits(dataclasses.replace(avif, header=header)) == depth


def test_the_first_of_several_is_noted(encode: Encode) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 90, 180)]
    animation = read_picture(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert animation.notes == ("only the first of 3 frames was read",)
    assert animation.color.flatten()[0] == 10
    pages = read_picture(encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert pages.notes == ("only the first of 3 pages was read",)


# More than 8 bits


def samples(height: int, width: int, channels: int) -> npt.NDArray[np.uint16]:
    """Return noise that uses all 16 bits."""
    return np.random.default_rng(height * width).integers(0, 2**16, (height, width, channels), np.uint16)


def first(source: Path | bytes) -> Picture:
    (picture,) = read_file(source).pictures
    return picture


def channels_of(picture: Picture) -> npt.NDArray[np.generic]:
    """Return the channels as a file stores them, in shape (H, W, C)."""
    planes = [*picture.color[0, : 1 if picture.gray else 3]]
    return np.stack([*planes, *(() if picture.alpha is None else picture.alpha[0])], axis=2)


@pytest.mark.parametrize(("color_type", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bit_png_is_read_as_it_is(make_png: Callable[..., bytes], color_type: int, channels: int) -> None:
    values = samples(5, 7, channels)
    picture = first(make_png((5, 7), 16, color_type, [row.astype(">u2").tobytes() for row in values]))
    assert np.array_equal(channels_of(picture), values)
    assert picture.color.dtype == torch.uint16
    assert (picture.gray, picture.depth_bits, picture.notes) == (channels <= 2, 16, ())


def test_16_bit_png_with_a_transparent_color(make_png: Callable[..., bytes]) -> None:
    values = np.array([[[0x1234, 5, 6]], [[0x1235, 5, 6]]], dtype=">u2")
    picture = first(
        make_png((2, 1), 16, 2, [row.tobytes() for row in values], {b"tRNS": values[0].tobytes()})
    )
    assert picture.color[0].permute(1, 2, 0).tolist() == values.tolist()
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [0, 65_535]  # they differ only in the low byte


def test_metadata_behind_deep_pixels_is_found(make_png: Callable[..., bytes]) -> None:
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    exif = Image.Exif()
    exif[274], exif[271] = 6, "maker"
    behind = {b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + xmp, b"eXIf": exif.tobytes()[6:]}
    values = samples(2, 3, 3)
    picture = first(make_png((2, 3), 16, 2, [row.astype(">u2").tobytes() for row in values], after=behind))
    assert np.array_equal(channels_of(picture), np.rot90(values, -1))
    assert picture.metadata.xmp is not None
    assert picture.metadata.exif is not None


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("photometric", "channels", "extra"), [(1, 1, None), (1, 2, 2), (2, 3, None), (2, 4, 2), (2, 4, None)]
)
def test_16_bit_tiff_is_read_as_it_is(
    make_tiff: Callable[..., bytes], photometric: int, channels: int, extra: int | None, order: str
) -> None:
    values = samples(4, 6, channels)
    tags = {} if extra is None else {338: extra}
    picture = first(make_tiff(values.astype(f"{order}u2"), photometric, tags))
    assert np.array_equal(channels_of(picture), values)
    assert (picture.gray, picture.depth_bits, picture.notes) == (channels <= 2, 16, ())


def test_channels_that_mean_nothing_are_left_out(make_tiff: Callable[..., bytes]) -> None:
    values = samples(4, 6, 4)
    assert np.array_equal(channels_of(first(make_tiff(values, 2, {338: 0}))), values[..., :3])
    assert np.array_equal(channels_of(first(make_tiff(values[..., :2], 1, {338: 0}))), values[..., :1])


@pytest.mark.parametrize(("channels", "photometric"), [(2, 1), (4, 2)])
@pytest.mark.parametrize("white", [65_535, 1])
def test_associated_alpha_is_taken_out(
    make_tiff: Callable[..., bytes], channels: int, photometric: int, white: int
) -> None:
    straight = samples(5, 7, channels).astype(np.float64) / 65_535
    straight[0, 0, -1], straight[0, 1, -1] = 1, 0
    stored = straight.copy()
    stored[..., :-1] *= straight[..., -1:]
    file = (stored * white).round() if white > 1 else stored
    picture = first(make_tiff(file.astype(np.uint16 if white > 1 else np.float32), photometric, {338: 1}))
    visible = straight[..., -1] > 0.1  # at lower alpha, 16-bit products are too coarse
    difference = np.abs(channels_of(picture) / white - straight)[visible]
    assert difference.max() < 12 / 65_535
    assert channels_of(picture)[0, 1, :-1].max() == 0


def test_white_at_zero(make_tiff: Callable[..., bytes]) -> None:
    values = samples(4, 6, 1)
    for order in "<>":
        assert np.array_equal(channels_of(first(make_tiff(values.astype(f"{order}u2"), 0))), 65_535 - values)


@pytest.mark.parametrize("order", ["<", ">"])
def test_integers_with_a_sign_are_moved_not_stretched(make_tiff: Callable[..., bytes], order: str) -> None:
    values = np.array([[[-32_768], [-1], [0], [5000], [32_767]]], f"{order}i2")
    picture = first(make_tiff(values, 1))
    assert picture.color[0, 0, 0].tolist() == [0, 32_767, 32_768, 37_768, 65_535]
    assert picture.notes == ("signed integers became unsigned: the lowest possible one is black",)


def test_12_bits_in_a_tiff_fill_the_range(make_tiff: Callable[..., bytes]) -> None:
    packed = np.frombuffer(bytes((0xFF, 0xF0, 0x00, 0x80, 0x00, 0x01)), np.uint8).reshape(1, 6, 1)
    picture = first(make_tiff(packed, 1, {256: 4, 258: 12}))  # FFF 000 800 001
    assert picture.color[0, 0, 0].tolist() == [65_535, 0, 32_776, 16]
    assert picture.depth_bits == 12


@pytest.mark.parametrize("type", ["<f2", "<f4", ">f4"])
@pytest.mark.parametrize(("photometric", "channels"), [(1, 1), (1, 2), (2, 3), (2, 4)])
def test_floats_are_read_as_floats(
    make_tiff: Callable[..., bytes], photometric: int, channels: int, type: str
) -> None:
    values = (samples(3, 5, channels) / 65_535).astype(type)
    tags = {338: 2} if channels in (2, 4) else {}
    picture = first(make_tiff(values, photometric, tags))
    assert np.array_equal(channels_of(picture), values.astype(np.float32))
    assert (picture.depth_bits, picture.value_range) == (32, (0.0, 1.0))


def test_gray_floats_of_64_bits(make_tiff: Callable[..., bytes]) -> None:
    for type in ("<f8", ">f8"):
        picture = first(make_tiff(np.array([[[0.0], [100.0], [255.0]]], type), 1))
        assert (picture.color[0, 0] * 255).flatten().tolist() == pytest.approx([0, 100, 255])
        assert picture.value_range == (0.0, 255.0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiff_is_turned_once(make_tiff: Callable[..., bytes], orientation: int) -> None:
    values = samples(4, 6, 3)
    file = make_tiff(values, 2, {274: orientation})
    picture = first(file)
    upright = np.stack(
        [
            np.asarray(ImageOps.exif_transpose(_with_orientation(values[..., channel], orientation)))
            for channel in range(3)
        ],
        axis=2,
    )
    assert np.array_equal(channels_of(picture), upright)
    assert (probe(file).height, probe(file).width) == upright.shape[:2]


def _with_orientation(plane: npt.NDArray[np.uint16], orientation: int) -> Image.Image:
    image = Image.fromarray(plane)
    image.getexif()[274] = orientation
    return image


def test_pages_have_their_own_size_and_depth(encode: Encode, make_tiff: Callable[..., bytes]) -> None:
    pages = [make_tiff(samples(4, 6, 3), 2), encode(pattern("RGB"), "TIFF"), make_tiff(samples(2, 3, 1), 1)]
    content = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(content) as writer:
        for page in (*pages, pages[0]):
            writer.write(page)
            writer.newFrame()
    file = read_file(content.getvalue())
    assert file.timing is None
    assert [picture.depth_bits for picture in file.pictures] == [16, 8, 16, 16]
    assert file.pictures[3].color is file.pictures[0].color
    for picture, page in zip(file.pictures, pages, strict=False):
        assert picture.color.equal(first(page).color)
    with pytest.raises(InputError, match="more than the limit"):
        read_file(content.getvalue(), 4 * 6 * 3)
    assert len(read_file(content.getvalue(), 4 * 6 * 3 + 2 * 3).pictures) == 4


def test_equal_frames_are_one_object(encode: Encode, srgb_profile: bytes) -> None:
    shades = (10, 90, 10, 90, 180)
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in shades]
    content = encode(
        frames[0], "GIF", save_all=True, append_images=frames[1:], duration=[10, 20, 30, 40, 50], disposal=2
    )
    file = read_file(content)
    assert [picture.color[0, 0, 0, 0].item() for picture in file.pictures] == list(shades)
    assert len({id(picture) for picture in file.pictures}) == 3
    assert file.timing is not None
    assert file.timing.durations_ms == (10, 20, 30, 40, 50)
    assert read_picture(content).notes == ("only the first of 5 frames was read",)


def test_only_the_first_frame_carries_what_is_of_all(encode: Encode, srgb_profile: bytes) -> None:
    exif = Image.Exif()
    exif[271] = "maker"
    frames = [Image.new("RGB", (8, 8), (shade, 0, 0)) for shade in (10, 200)]
    for format in ("PNG", "WEBP", "TIFF"):
        several = {
            "save_all": True,
            "append_images": frames[1:],
            **({"lossless": True} if format == "WEBP" else {}),
        }
        content = encode(frames[0], format, exif=exif, icc_profile=srgb_profile, **several)
        one, two = read_file(content).pictures
        assert one.metadata.exif is not None
        assert (two.metadata.exif is None) == (format != "TIFF")  # pages keep their own
        assert one.metadata.icc_profile == two.metadata.icc_profile == srgb_profile


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_images_keep_their_bits(mode: str) -> None:
    values = samples(4, 6, 1)[..., 0]
    deep = values if mode == "I;16" else (values / 65_535).astype(np.float32)
    picture = picture_from_image(Image.fromarray(deep))
    assert np.array_equal(picture.color[0, 0].numpy(), deep)


def test_the_corpus_as_other_programs_read_it(shared: Path, imagemagick: str) -> None:
    for name, kind in (("gray16.png", "gray"), ("gray16.tif", "gray"), ("rgb16.tiff", "rgb")):
        path = shared / "corpus" / name
        theirs = subprocess.check_output([imagemagick, path, "-depth", "16", "-endian", "LSB", f"{kind}:-"])
        assert channels_of(first(path)).astype("<u2").tobytes() == theirs
    gray = first(shared / "corpus" / "gray16.tif").color.numpy()
    assert (gray.min(), gray.max()) == (291, 694)


# Orientation and metadata


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
def test_orientation_is_applied_once(encode: Encode, format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    exif[271] = "maker"
    file = encode(pattern("RGB"), format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    picture = read_picture(file)
    with Image.open(io.BytesIO(file)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    assert pixels(picture.color) == expected.tolist()
    assert (probe(file).height, probe(file).width) == (picture.height, picture.width)
    kept = Image.Exif()
    kept.load(picture.metadata.exif or b"")
    assert 274 not in kept
    assert kept[271] == "maker"


def test_the_five_orientations_of_the_corpus_look_alike() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not here")
    small = [
        resize(read_picture(CORPUS / f"orientation_{n}.jpg").color, 40, 30).float() for n in (1, 3, 5, 6, 8)
    ]
    assert all((other - small[0]).abs().mean() < 4 for other in small)


def test_metadata_is_kept(encode: Encode, srgb_profile: bytes) -> None:
    exif = Image.Exif()
    exif[272] = "model"
    exif.get_ifd(0x8825)[1] = "N"
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    file = encode(pattern("RGB"), "JPEG", exif=exif, xmp=xmp, icc_profile=srgb_profile, dpi=(300, 150))
    metadata = read_picture(file).metadata
    assert metadata.icc_profile == srgb_profile
    assert metadata.xmp == xmp.replace(b'"6"', b'"1"')
    assert metadata.dpi == (300.0, 150.0)
    kept = Image.Exif()
    kept.load(metadata.exif or b"")
    assert kept[272] == "model"
    assert kept.get_ifd(0x8825)[1] == "N"


def test_a_profile_of_other_pixels_is_left_out(encode: Encode, srgb_profile: bytes) -> None:
    picture = read_picture(encode(pattern("L"), "JPEG", icc_profile=srgb_profile))
    assert picture.metadata.icc_profile is None
    assert picture.notes == ("a color profile that does not fit its pixels was left out",)


def test_a_profile_of_which_parts_are_missing_is_said(
    encode: Callable[..., bytes], srgb_profile: bytes
) -> None:
    """A JPEG stores a large profile in several numbered segments."""
    whole = encode(Image.new("RGB", (8, 8)), "JPEG", icc_profile=srgb_profile)
    content = whole.replace(b"ICC_PROFILE\0\1\1", b"ICC_PROFILE\0\1\2")
    assert read_file(whole).first.notes == ()
    assert read_file(content).first.notes == ("a color profile was left out, since it is damaged",)
    assert read_file(content).first.metadata.icc_profile is None


def test_broken_exif_is_left_out(encode: Encode) -> None:
    picture = read_picture(encode(pattern("RGB"), "PNG", exif=b"Exif\0\0garbage that is no TIFF"))
    assert picture.metadata.exif is None
    assert picture.notes == ("EXIF was left out, since it is damaged",)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]
)
def test_images_of_every_mode_are_taken_over(mode: str) -> None:
    image = Image.new("RGBA" if mode in ("LA", "PA") else "RGB", (5, 3), "white").convert(mode)
    picture = picture_from_image(image)
    assert picture.color.shape == (1, 3, 3, 5)
    assert (picture.color == largest_value(picture.color.dtype)).all()
    assert picture.depth_bits == {"I": 16, "F": 32}.get(mode, 8)
    assert picture.gray == (mode in ("1", "L", "LA", "I", "F"))
    assert (picture.alpha is not None) == (mode in ("LA", "PA", "RGBA"))


def test_an_opened_image_is_taken_over_like_its_file(encode: Encode) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for format in ("PNG", "TIFF"):
        file = encode(pattern("RGB"), format, exif=exif)
        with Image.open(io.BytesIO(file)) as image:
            picture = picture_from_image(image)
            assert format == "TIFF" or image.getexif()[274] == 6  # the image is unchanged
        assert picture.color.equal(read_picture(file).color)
        assert picture.format == format


# Failures


def test_a_bomb_is_refused_by_its_header(make_png: Callable[..., bytes]) -> None:
    side = int(LARGEST_INPUT_PX**0.5)
    assert (
        probe(make_png((side, side), 8, 2, [b""])).height == side
    )  # above Pillow's own limit, but without a warning
    for read in (probe, read_picture, read_file):
        with pytest.raises(InputError, match="has 501 megapixels, more than the limit"):
            read(make_png((side, side + 2), 8, 2, [b""]))


@pytest.mark.parametrize("kind", ["PNG", "strips", "tiles", "floats"])
def test_a_deep_file_without_all_its_pixels_is_an_error(
    make_png: Callable[..., bytes], make_tiff: Callable[..., bytes], kind: str
) -> None:
    values = samples(64, 64, 3)
    behind = 8 + values.nbytes // 2  # a false offset of the pixels, so that half of them is missing
    png = make_png((64, 64), 16, 2, [row.astype(">u2").tobytes() for row in values])
    file = {
        "PNG": png[: len(png) // 2],
        "strips": make_tiff(values, 2, {273: behind}),
        "tiles": make_tiff(values, 2, {322: 64, 323: 64, 324: behind, 325: values.nbytes}),
        "floats": make_tiff(values.astype(np.float32), 2, {273: 8 + values.nbytes * 3 // 2}),
    }[kind]
    with pytest.raises(InputError, match=r"the data (is damaged|cannot)") as caught:
        read_file(file)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF", "GIF"])
def test_a_truncated_file_is_an_error(encode: Encode, format: str) -> None:
    file = encode(Image.effect_noise((64, 64), 50), format)
    with pytest.raises(InputError, match=r"the data (is damaged|cannot)"):
        read_picture(file[: len(file) * 2 // 3])


def test_a_wrong_checksum_is_an_error(encode: Encode) -> None:
    file = bytearray(encode(Image.effect_noise((64, 64), 50), "PNG"))
    file[-14] ^= 1  # a byte of the pixels' checksum, before the 12 bytes of IEND
    with pytest.raises(InputError, match="checksum"):
        read_picture(bytes(file))


@pytest.mark.parametrize("path", CORPUS_FILES, ids=lambda path: path.name)
def test_the_corpus_reads_or_is_refused(path: Path) -> None:
    try:
        picture = read_picture(path)
    except InputError as error:
        assert error.message.startswith(str(path))
        assert "\n" not in error.message
    else:
        header = probe(path)
        assert (header.format, header.height, header.width) == (picture.format, picture.height, picture.width)
        assert header.alpha == (picture.alpha is not None)
        assert not path.name.startswith("bad_")


def test_threads_leave_the_process_as_it_was(encode: Encode) -> None:
    file = encode(pattern("RGB"), "PNG")
    before = (list(warnings.filters), Image.MAX_IMAGE_PIXELS)
    threads = [threading.Thread(target=lambda: [read_picture(file) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (list(warnings.filters), Image.MAX_IMAGE_PIXELS) == before


def test_a_jpeg_is_decoded_small_for_a_thumbnail(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.linear_gradient("L").resize((1600, 800)).save(path, exif=exif)
    picture = read_small(path, 320)
    assert (picture.height, picture.width) == (800, 400)
    whole = resize(read_picture(path).color, 800, 400)
    assert (picture.color.int() - whole.int()).abs().max() <= 3
    path.write_bytes(path.read_bytes()[:-3000])
    assert read_small(path, 320).height == 800
