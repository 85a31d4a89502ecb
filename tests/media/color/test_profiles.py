"""Test profiles of displays with littlecms, both in Pillow and in its own program."""

import io
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from esc_cli.media.color.profiles import (
    Primaries,
    gray_profile,
    power_curve,
    rgb_profile,
    sampled_curve,
    srgb_curve,
)

SRGB = Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))
DISPLAY_P3 = Primaries((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
ADOBE_RGB = Primaries((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))

# Computed by littlecms (imagecodecs.cms_profile); Apple's "Display P3.icc" has the same values.
P3_COLORANTS = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))
# Adobe RGB (1998) Color Image Encoding, version 2005-05, 4.3.5.3.
ADOBE_COLORANTS = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))


def made(primaries: Primaries, curve: bytes) -> bytes:
    profile = rgb_profile(primaries, curve)
    assert profile is not None
    return profile


def opened(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


def to_srgb(profile: bytes, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    converted = ImageCms.profileToProfile(
        image, opened(profile), ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC, "RGB"
    )
    return np.asarray(converted)


@pytest.mark.parametrize(
    ("primaries", "published"), [(DISPLAY_P3, P3_COLORANTS), (ADOBE_RGB, ADOBE_COLORANTS)]
)
def test_colorants_are_the_published_ones(
    primaries: Primaries, published: tuple[tuple[float, ...], ...]
) -> None:
    profile = opened(made(primaries, srgb_curve())).profile
    colorants = (profile.red_colorant, profile.green_colorant, profile.blue_colorant)
    assert np.abs(np.array([xyz for xyz, _ in colorants]) - published).max() < 2e-5
    assert profile.is_matrix_shaper
    assert (profile.xcolor_space, profile.connection_space, profile.version) == ("RGB ", "XYZ ", 4.4)


def test_our_srgb_is_the_one_of_littlecms() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    converted = to_srgb(made(SRGB, srgb_curve()), pixels)
    assert np.abs(converted.astype(int) - pixels).max() <= 1


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.5])
def test_gray_of_a_power(gamma: float) -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, -1)
    gray = to_srgb(gray_profile(power_curve(gamma)), ramp)
    color = to_srgb(made(SRGB, power_curve(gamma)), np.repeat(ramp[..., None], 3, axis=2))
    bright = np.s_[:, 64:]  # littlecms converts dark 8-bit gray with too coarse a table
    assert np.abs(gray.astype(int) - color)[bright].max() <= 1
    light = (ramp[0] / 255) ** gamma
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert np.abs(color[0] - expected[:, None]).max() <= 1


def test_a_sampled_curve_is_the_power_it_samples() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    sampled = to_srgb(made(DISPLAY_P3, sampled_curve(lambda signal: signal**2.2)), pixels)
    computed = to_srgb(made(DISPLAY_P3, power_curve(2.2)), pixels)
    assert np.abs(sampled.astype(int) - computed).max() <= 1


@pytest.mark.skipif(shutil.which("transicc") is None, reason="littlecms's program is not here")
def test_colors_as_the_program_of_littlecms_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "profile.icc"
    path.write_bytes(made(SRGB, srgb_curve()))
    for color in ("255 0 0", "10 200 30", "17 17 17", "0 80 255"):
        seen = [
            subprocess.run(
                ["transicc", "-i", str(profile), "-o", "*Lab", "-t1", "-n"],
                input=color,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for profile in (path, "*sRGB")
        ]
        ours, theirs = (np.array(lab.split(), dtype=float) for lab in seen)
        assert np.abs(ours - theirs).max() < 0.02


def test_the_same_bytes_every_time() -> None:
    profile = made(DISPLAY_P3, srgb_curve())
    assert profile == made(DISPLAY_P3, srgb_curve())
    assert struct.unpack(">6H", profile[24:36]) == (2026, 1, 1, 0, 0, 0)
    assert struct.unpack(">I", profile[:4]) == (len(profile),)


def test_rounded_primaries_are_near() -> None:
    assert SRGB.is_near(Primaries((0.6400, 0.3301), (0.3, 0.6), (0.1501, 0.06), (0.31269, 0.32899)))
    assert not SRGB.is_near(DISPLAY_P3)


coordinates = st.tuples(st.floats(0, 1), st.floats(0, 1)) | st.tuples(st.just(0.3127), st.just(0.3290))


@settings(max_examples=300)
@given(coordinates, coordinates, coordinates, coordinates)
def test_any_primaries_make_a_good_profile_or_none(
    red: tuple[float, float],
    green: tuple[float, float],
    blue: tuple[float, float],
    white: tuple[float, float],
) -> None:
    profile = rgb_profile(Primaries(red, green, blue, white), power_curve(2.2))
    if profile is not None:
        pixels = np.array([[[255, 255, 255], [0, 0, 0], [128, 128, 128]]], dtype=np.uint8)
        converted = to_srgb(profile, pixels)[0].astype(int)
        assert np.abs(converted - [[255], [0], [128]]).max() <= 2  # neutral stays neutral


@pytest.mark.parametrize(
    "primaries",
    [
        Primaries((0, 0), (0, 0), (0, 0), (0, 0)),
        Primaries((0.3, 0.3), (0.3, 0.3), (0.3, 0.3)),
        Primaries((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.1, 0.8)),  # white is outside the triangle
        Primaries((float("nan"), 0.33), (0.30, 0.60), (0.15, 0.06)),
        Primaries((42949.67, 0.33), (0.30, 0.60), (0.15, 0.06)),  # the largest number of a cHRM chunk
    ],
)
def test_primaries_that_are_nonsense(primaries: Primaries) -> None:
    assert primaries.colorants() is None
    assert rgb_profile(primaries, srgb_curve()) is None
