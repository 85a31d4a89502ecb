import dataclasses
import io
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media.geometry import resize
from esc_cli.media.header import depth_bits
from esc_cli.media.pillow import LARGEST_INPUT_PX, opened
from esc_cli.media.probe import probe
from esc_cli.media.read import picture_from_image, read_picture

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpus"
CORPUS_FILES = sorted(path for path in CORPUS.glob("*.*") if path.suffix not in (".md", ".csv"))

Encode = Callable[..., bytes]


def pixels(color: Tensor) -> list[list[list[int]]]:
    """(1, C, H, W) as rows of pixels."""
    return color[0].permute(1, 2, 0).tolist()


def pattern(mode: str) -> Image.Image:
    """A picture that no turn or flip leaves as it is."""
    values = np.arange(6 * 4 * len(Image.new(mode, (1, 1)).getbands()), dtype=np.uint8).reshape(4, 6, -1)
    return Image.fromarray(values.squeeze())


# What files hold


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


def test_16_bit_gray_is_rounded(make_png: Callable[..., bytes]) -> None:
    values = np.array([0, 128, 129, 257, 32767, 65406, 65535], dtype=">u2")
    picture = read_picture(make_png((1, 7), 16, 0, [values.tobytes()], before={b"tRNS": b"\1\1"}))
    assert picture.gray
    assert picture.color[0, 0, 0].tolist() == [0, 0, 1, 1, 127, 254, 255]  # round(value / 257)
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [255, 255, 255, 0, 255, 255, 255]
    assert picture.notes == ("16 bits a channel were reduced to 8",)


def test_16_bit_color_is_noted(make_png: Callable[..., bytes]) -> None:
    row = np.array([[0x1234, 0, 0xFFFF], [0, 0, 0]], dtype=">u2").tobytes()
    picture = read_picture(make_png((1, 2), 16, 2, [row], before={b"tRNS": row[:6]}))
    assert pixels(picture.color) == [[[0x12, 0, 0xFF], [0, 0, 0]]]
    assert picture.alpha is not None
    assert picture.alpha.flatten().tolist() == [0, 255]
    assert picture.notes == ("16 bits a channel were reduced to 8",)


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
    assert picture.notes == ("32 bits a channel were reduced to 8",)


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


def test_lab_is_converted(encode: Encode) -> None:
    picture = read_picture(encode(Image.new("LAB", (1, 1), (128, 128, 128)), "TIFF"))
    color = picture.color.flatten()
    assert (color - 119).abs().max() <= 2  # L* 50 is sRGB 119


def test_avif_of_ten_bits_is_noted(encode: Encode) -> None:
    file = encode(pattern("RGB"), "AVIF")
    at = file.index(b"av1C") + 6
    for flags, depth in ((0x00, 8), (0x40, 10), (0x60, 12)):
        with opened(file) as avif:  # Pillow encodes 8 bits alone, so only the header is that of another
            header = file[:at] + bytes((file[at] | flags,)) + file[at + 1 :]
            assert depth_bits(dataclasses.replace(avif, header=header)) == depth


def test_the_first_of_several_is_noted(encode: Encode) -> None:
    frames = [Image.new("L", (8, 8), shade) for shade in (10, 90, 180)]
    animation = read_picture(encode(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert animation.notes == ("only the first of 3 frames was read",)
    assert animation.color.flatten()[0] == 10
    pages = read_picture(encode(frames[0], "TIFF", save_all=True, append_images=frames[1:]))
    assert pages.notes == ("only the first of 3 pages was read",)


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


def test_broken_exif_is_left_out(encode: Encode) -> None:
    picture = read_picture(encode(pattern("RGB"), "PNG", exif=b"Exif\0\0garbage that is no TIFF"))
    assert picture.metadata.exif is None
    assert picture.notes == ("EXIF was left out, since it is damaged or empty",)


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "I", "F"]
)
def test_images_of_every_mode_are_taken_over(mode: str) -> None:
    image = Image.new("RGBA" if mode in ("LA", "PA") else "RGB", (5, 3), "white").convert(mode)
    picture = picture_from_image(image)
    assert picture.color.shape == (1, 3, 3, 5)
    assert picture.color.min() == 255
    assert picture.gray == (mode in ("1", "L", "LA", "I", "F"))
    assert (picture.alpha is not None) == (mode in ("LA", "PA", "RGBA"))


def test_an_opened_image_is_taken_over_like_its_file(encode: Encode) -> None:
    exif = Image.Exif()
    exif[274] = 6
    for format in ("PNG", "TIFF"):
        file = encode(pattern("RGB"), format, exif=exif)
        with Image.open(io.BytesIO(file)) as image:
            picture = picture_from_image(image)
            assert format == "TIFF" or image.getexif()[274] == 6  # the image is as it was
        assert picture.color.equal(read_picture(file).color)
        assert picture.format == format


# Failures


def test_a_bomb_is_refused_by_its_header(make_png: Callable[..., bytes]) -> None:
    side = int(LARGEST_INPUT_PX**0.5)
    assert (
        probe(make_png((side, side), 8, 2, [b""])).height == side
    )  # above Pillow's own limit, without a warning
    for read in (probe, read_picture):
        with pytest.raises(InputError, match="more than 500 megapixels"):
            read(make_png((side, side + 2), 8, 2, [b""]))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "AVIF", "GIF"])
def test_a_truncated_file_is_an_error(encode: Encode, format: str) -> None:
    file = encode(Image.effect_noise((64, 64), 50), format)
    with pytest.raises(InputError, match=r"the data (is damaged|cannot)"):
        read_picture(file[: len(file) * 2 // 3])


def test_a_wrong_checksum_is_an_error(encode: Encode) -> None:
    file = bytearray(encode(Image.effect_noise((64, 64), 50), "PNG"))
    file[-14] ^= 1  # the last byte of the pixels' checksum lies before IEND's 12
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
