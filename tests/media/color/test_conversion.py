"""Test color conversion by profiles against littlecms, both in Pillow and in its own program."""

import io
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageCms
from torch import Tensor

from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.color.profiles import (
    Primaries,
    gray_profile,
    power_curve,
    rgb_profile,
    srgb_curve,
)
from esc_cli.media.color.signalling import PRIMARIES
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata.kinds import ALL_METADATA, Metadata
from esc_cli.media.picture import Picture, PictureFile, WriteSettings
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file

Pixels = npt.NDArray[np.uint8]

ADOBE_RGB = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
# The primaries of sRGB in another order: a value stored as red is shown as green.
SWAPPED = Primaries((0.30, 0.60), (0.15, 0.06), (0.64, 0.33))


def profile_of(primaries: Primaries, curve: bytes) -> bytes:
    profile = rgb_profile(primaries, curve)
    assert profile is not None
    return profile


P3 = profile_of(PRIMARIES[12], srgb_curve())
PROFILES = {
    "Display P3": P3,
    "Adobe RGB": profile_of(ADOBE_RGB, power_curve(2.2)),
    "swapped": profile_of(SWAPPED, srgb_curve()),
}
LINEAR = profile_of(PRIMARIES[9], power_curve(1))
LINEAR_GRAY = gray_profile(power_curve(1))


def chart(height: int = 48, width: int = 64) -> Pixels:
    """Return ramps, some of them neutral, and noise."""
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels[: height // 2] = np.linspace(0, 255, width).astype(np.uint8)[:, None]
    pixels[: height // 4, :, 1] = 255 - pixels[: height // 4, :, 1]
    return pixels


def picture(color: Tensor, profile: bytes | None, gray: bool = False) -> Picture:
    return Picture(color, None, gray, Metadata(icc_profile=profile), "PNG")


def tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy()).unsqueeze(0)


def array(color: Tensor) -> npt.NDArray[np.float64]:
    """Return the color as an array of shape (H, W, 3)."""
    return color[0].permute(1, 2, 0).numpy().astype(np.float64)


def opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def by_littlecms(pixels: Pixels, profile: bytes) -> npt.NDArray[np.float64]:
    converted = ImageCms.profileToProfile(
        Image.fromarray(pixels),
        opened(profile),
        ImageCms.createProfile("sRGB"),
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        "RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return np.asarray(converted).astype(np.float64)


def lab(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> npt.NDArray[np.float64]:
    to_lab = ImageCms.buildTransform(profile, ImageCms.createProfile("LAB"), "RGB", "LAB", 1)
    stored = np.asarray(to_lab.apply(image))
    lightness = stored[..., :1] / 2.55
    return np.concatenate((lightness, stored[..., 1:].view(np.int8).astype(np.float64)), axis=2)


def delta_e(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the CIE 1976 color differences."""
    return np.asarray(np.linalg.norm(one - other, axis=2))


# To sRGB


@pytest.mark.parametrize("name", PROFILES)
def test_all_depths_are_converted_as_littlecms_does(name: str) -> None:
    pixels, profile = chart(), PROFILES[name]
    expected = by_littlecms(pixels, profile)
    narrow = to_srgb(picture(tensor(pixels), profile))
    assert narrow.metadata.icc_profile is None
    assert narrow.notes == ()
    assert np.abs(array(narrow.color) - expected).max() <= 1
    deep = (tensor(pixels).to(torch.int32) * 257).to(torch.uint16)
    assert np.abs(array(to_srgb(picture(deep, profile)).color) / 257 - expected).max() <= 2
    floats = to_srgb(picture(tensor(pixels).to(torch.float32) / 255, profile)).color
    assert floats.dtype == torch.float32
    assert np.abs(array(floats) * 255 - expected).max() <= 2


@pytest.mark.skipif(shutil.which("transicc") is None, reason="littlecms's program is not here")
@pytest.mark.parametrize("name", PROFILES)
def test_16_bits_against_the_program_of_littlecms(name: str, tmp_path: Path) -> None:
    path = tmp_path / "profile.icc"
    path.write_bytes(PROFILES[name])
    colors = np.random.default_rng(1).integers(0, 65536, (60, 3))
    colors[:20] = colors[:20, :1]  # neutral colors
    program = subprocess.run(
        ["transicc", "-i", str(path), "-o", "*sRGB", "-t1", "-b", "-n"],
        input="\n".join(" ".join(map(str, color)) for color in colors / 257),
        capture_output=True,
        text=True,
        check=True,
    )
    expected = np.array([line.split() for line in program.stdout.splitlines() if line.strip()], dtype=float)
    deep = tensor(colors.astype(np.uint16)[None])
    ours = array(to_srgb(picture(deep, PROFILES[name])).color)[0]
    difference = np.abs(ours / 257 - expected.clip(0, 255))
    assert difference.max() <= 2
    assert difference.mean() < 0.15


def test_linear_light_keeps_more_than_8_bits() -> None:
    ramp = torch.arange(4096, dtype=torch.int32).mul(16).to(torch.uint16).view(1, 1, 1, -1)
    converted = to_srgb(picture(ramp.expand(1, 3, 1, -1).contiguous(), LINEAR)).color
    assert len(converted[0, 1].unique()) > 3000
    light = ramp[0, 0, 0].numpy() / 65535
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(converted[0, 1, 0].numpy() / 65535 - expected).max() < 0.5 / 255


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
def test_gray_stays_gray(dtype: torch.dtype) -> None:
    levels = 256 if dtype == torch.uint8 else 65536
    ramp = torch.arange(0, levels, max(1, levels // 1024), dtype=torch.int32)
    values = ramp / (levels - 1) if dtype == torch.float32 else ramp.to(dtype)
    converted = to_srgb(picture(values.view(1, 1, 1, -1).expand(1, 3, -1, -1), LINEAR_GRAY, gray=True))
    assert converted.gray
    assert converted.color.dtype == dtype
    assert converted.color[:, :1].expand(-1, 3, -1, -1).equal(converted.color)
    light = ramp.numpy() / (levels - 1)
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    largest = 1 if dtype == torch.float32 else levels - 1
    assert np.abs(converted.color[0, 0, 0].numpy() / largest - expected).max() < 0.8 / 255


def test_strips_make_one_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 7, 3), dtype=np.uint8)
    tall = np.tile(pixels, (1200, 200, 1))  # 5 megapixels, more than a strip
    small = to_srgb(picture(tensor(pixels), P3)).color
    assert to_srgb(picture(tensor(tall), P3)).color.equal(small.tile(1, 1, 1200, 200))


def test_what_has_no_profile_is_left_alone() -> None:
    plain = picture(tensor(chart()), None)
    assert to_srgb(plain) is plain


@pytest.mark.parametrize(
    ("profile", "gray"),
    [
        (b"", False),
        (b"x" * 400, False),
        (P3[:300], False),
        (P3[:200], True),
        (P3, True),
        (LINEAR_GRAY, False),
    ],
)
def test_an_unusable_profile_is_dropped(profile: bytes, gray: bool) -> None:
    source = replace(picture(tensor(chart()), profile, gray), notes=("before",))
    converted = to_srgb(source)
    assert converted.color.equal(source.color)
    assert converted.metadata.icc_profile is None
    assert converted.notes == (
        "before",
        "a color profile that is damaged or does not fit the picture was left out",
    )


# Through files


@pytest.mark.parametrize("name", PROFILES)
def test_colors_survive_files(name: str) -> None:
    original = Image.fromarray(chart())
    source = io.BytesIO()
    original.save(source, "PNG", icc_profile=PROFILES[name])
    file = read_file(source.getvalue())
    with Image.open(io.BytesIO(encode_file(file, FORMATS["PNG"]))) as result:
        difference = delta_e(
            lab(original, opened(PROFILES[name])),
            lab(result.convert("RGB"), opened(result.info["icc_profile"])),
        )
    assert difference.max() == 0


@pytest.mark.parametrize("name", PROFILES)
def test_colors_within_srgb_survive_the_loss_of_their_profile(name: str) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    to_space = ImageCms.buildTransform(srgb, opened(PROFILES[name]), "RGB", "RGB", 1)
    original = to_space.apply(Image.fromarray(chart()))
    source = io.BytesIO()
    original.save(source, "PNG", icc_profile=PROFILES[name])
    settings = WriteSettings(keep=ALL_METADATA - {"icc_profile"})
    encoded = encode_file(read_file(source.getvalue()), FORMATS["PNG"], settings)
    with Image.open(io.BytesIO(encoded)) as result:
        assert "icc_profile" not in result.info
        difference = delta_e(lab(original, opened(PROFILES[name])), lab(result.convert("RGB"), srgb))
    assert difference.mean() < 0.5
    assert difference.max() < 3  # 8-bit Lab has steps of 1


@pytest.mark.parametrize("name", ["photo_display_p3.jpg", "photo_adobe_rgb_small.jpg", "icc_rgb_to_gbr.png"])
def test_real_pictures_keep_their_colors(shared: Path, name: str) -> None:
    with Image.open(shared / "corpus" / name) as source:
        profile = source.info["icc_profile"]
        original = source.crop((0, 0, 400, 400)).convert("RGB")
    content = PictureFile((picture(tensor(np.asarray(original)), profile),))
    with Image.open(io.BytesIO(encode_file(content, FORMATS["PNG"]))) as result:
        kept = lab(result.convert("RGB"), opened(result.info["icc_profile"]))
    assert delta_e(lab(original, opened(profile)), kept).max() == 0
