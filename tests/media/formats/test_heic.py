import random
import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from esc_cli.errors import EscError, InputError, OutputError
from esc_cli.media.formats.heic import deep_pixels, encode_heif
from esc_cli.media.opening import opened
from esc_cli.media.probe import probe
from esc_cli.media.read import read_file

pytest.importorskip("pillow_heif")

Array = npt.NDArray[np.uint16]

XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='somebody'></x:xmpmeta>"


def slopes(channels: int) -> Array:
    """Return pixels, (64, 512, C), in which each channel has a different slope."""
    across = np.tile(np.linspace(0, 65_535, 512), (64, 1)).round().astype(np.uint16)
    planes = [across, across[:, ::-1], across // 2, 65_535 - across // 3]
    return np.dstack([across, planes[3]] if channels == 2 else planes[:channels])


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0110], tags[0x0112] = "a camera", orientation
    return tags.tobytes()


@pytest.mark.parametrize("depth_bits", [10, 12])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_more_than_8_bits_are_kept(depth_bits: int, channels: int) -> None:
    pixels = slopes(channels)
    content = encode_heif(pixels, depth_bits, 95, {})
    got = deep_pixels(content, "x")
    assert got.dtype == np.uint16
    assert got.shape == pixels.shape
    assert len(np.unique(got[..., 0])) > 450
    assert np.abs(got.astype(int) - pixels).max() < 4 * 64
    with opened(content) as file:
        assert file.image.info["bit_depth"] == depth_bits


def test_black_and_white_are_the_ends_of_the_range() -> None:
    pixels = np.zeros((16, 16, 3), np.uint16)
    pixels[:, 8:] = 65_535
    assert np.unique(deep_pixels(encode_heif(pixels, 10, 95, {}), "x")).tolist() == [0, 65_535]


def test_gray_and_alpha_come_back_as_colors() -> None:
    pixels = slopes(2)
    got = deep_pixels(encode_heif(pixels, 10, 95, {}), "x")
    assert got.shape == (64, 512, 4)
    assert np.abs(got[..., [0, 1, 2, 3]].astype(int) - pixels[..., [0, 0, 0, 1]]).max() < 4 * 64


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_8_bits(channels: int, mode: str) -> None:
    pixels = (slopes(channels) // 257).astype(np.uint8)
    with opened(encode_heif(pixels, 8, 95, {})) as file:
        assert (file.image.mode, file.image.info["bit_depth"]) == (mode, 8)
        got = np.asarray(file.image).reshape(pixels.shape)
    assert np.abs(got.astype(int) - pixels).max() <= 3


def test_colors_are_not_halved() -> None:
    """4:2:0 subsampling would smear stripes that are one pixel wide."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, ::2, 0], pixels[:, 1::2, 2] = 255, 255
    with opened(encode_heif(pixels, 8, 95, {})) as file:
        got = np.asarray(file.image)
    assert np.abs(got.astype(int) - pixels).max() < 12


def test_quality_is_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    sizes = [len(encode_heif(noise, 8, quality, {})) for quality in (20, 60, 95)]
    assert sizes == sorted(set(sizes))


@pytest.mark.parametrize("depth_bits", [8, 10])
def test_metadata_is_kept(depth_bits: int, srgb_profile: bytes) -> None:
    pixels = slopes(3) if depth_bits > 8 else (slopes(3) // 257).astype(np.uint8)
    metadata = {"icc_profile": srgb_profile, "exif": exif(1), "xmp": XMP}
    with opened(encode_heif(pixels, depth_bits, 90, metadata)) as file:
        assert file.image.size == (512, 64)
        assert file.image.info["icc_profile"] == srgb_profile
        assert file.image.info["xmp"] == XMP
        assert file.image.getexif()[0x0110] == "a camera"


def test_turned_pictures_come_upright_once() -> None:
    """pillow-heif writes EXIF's orientation as irot, which readers apply."""
    pixels = slopes(3)
    with opened(encode_heif(pixels, 10, 95, {"exif": exif(6)})) as file:
        assert file.image.size == (64, 512)
        assert file.image.getexif().get(0x0112, 1) == 1
    got = deep_pixels(encode_heif(pixels, 10, 95, {"exif": exif(6)}), "x")
    assert np.abs(got.astype(int) - np.rot90(pixels, -1)).max() < 4 * 64


@pytest.mark.parametrize("depth_bits", [8, 10])
def test_a_crop_is_applied_before_rotation(depth_bits: int) -> None:
    """The encoder pads to whole blocks and says so in a crop (clap)."""
    pixels = slopes(3)[:30, :40]
    pixels = pixels if depth_bits > 8 else (pixels // 257).astype(np.uint8)
    content = encode_heif(pixels, depth_bits, 95, {"exif": exif(6)})
    assert b"clap" in content
    told, picture = probe(content), read_file(content).first
    assert (told.height, told.width) == (picture.height, picture.width) == (40, 30)
    difference = picture.color[0].numpy().transpose(1, 2, 0).astype(int) - np.rot90(pixels, -1)
    assert np.abs(difference).max() < (4 if depth_bits == 8 else 4 * 64)


def test_damage_is_an_error_of_ours() -> None:
    content = encode_heif(slopes(3), 10, 90, {"exif": exif(1)})
    chance = random.Random(0)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        for _ in range(3):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        try:
            deep_pixels(bytes(damaged), "x")
        except EscError:
            refused += 1
    assert refused > 10
    for length in (20, 200, len(content) - 5):
        with pytest.raises(InputError, match="x is damaged"):
            deep_pixels(content[:length], "x")


def test_what_the_encoder_cannot_do_is_said() -> None:
    with pytest.raises(OutputError, match="cannot be written as HEIC"):
        encode_heif(np.zeros((1, 16_384, 3), np.uint8), 8, 90, {})


def test_real_10_bits(shared: Path) -> None:
    path = shared / "corpus" / "heic_10bit.heic"
    pixels = deep_pixels(path, "x")
    assert pixels.shape == (48, 64, 3)
    assert len(np.unique(pixels)) > 256
    assert (pixels.min(), pixels.max()) == (0, 65_535)
    assert (deep_pixels(path.read_bytes(), "x") == pixels).all()


@pytest.mark.skipif(shutil.which("heif-convert") is None, reason="needs libheif's programs")
def test_libheif_reads_the_same(tmp_path: Path) -> None:
    content = encode_heif(slopes(3), 10, 90, {})
    (tmp_path / "a.heic").write_bytes(content)
    command = ["heif-convert", tmp_path / "a.heic", tmp_path / "a.png"]
    subprocess.run(command, capture_output=True, check=True)
    import pyvips

    theirs = pyvips.Image.new_from_file(str(tmp_path / "a.png")).numpy()
    assert np.abs(theirs.astype(int) - deep_pixels(content, "x")).max() <= 2 * 64


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="needs exiftool")
def test_exiftool_finds_the_metadata(tmp_path: Path, srgb_profile: bytes) -> None:
    metadata = {"icc_profile": srgb_profile, "exif": exif(1), "xmp": XMP}
    (tmp_path / "a.heic").write_bytes(encode_heif(slopes(3), 12, 90, metadata))
    command = ["exiftool", "-s", "-n", "-Model", "-XMPToolkit", "-ProfileDescription", "-ImagePixelDepth"]
    said = subprocess.run([*command, tmp_path / "a.heic"], capture_output=True, check=True, text=True).stdout
    found = dict(line.split(": ", 1) for line in said.splitlines())
    assert {name.strip(): value for name, value in found.items()} == {
        "Model": "a camera",
        "XMPToolkit": "somebody",
        "ProfileDescription": "sRGB built-in",
        "ImagePixelDepth": "12 12 12",
    }


def test_no_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        deep_pixels(tmp_path / "none.heic", "none.heic")
