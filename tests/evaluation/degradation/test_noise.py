"""Test that noise has the requested strength, and that JPEG compression is the same as Pillow's."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from esc_cli.evaluation.degradation.noise import add_gaussian_noise, add_poisson_noise, compress_jpeg


def gray_picture(value: float) -> torch.Tensor:
    return torch.full((1, 3, 128, 128), value)


@pytest.mark.parametrize("gray", [False, True])
def test_gaussian_noise(gray: bool) -> None:
    noise = add_gaussian_noise(gray_picture(0.5), 10, gray=gray, random=np.random.default_rng(0)) - 0.5
    assert float(noise.std()) * 255 == pytest.approx(10, rel=0.03)
    assert float(noise.mean()) * 255 == pytest.approx(0, abs=0.2)
    assert torch.equal(noise[:, 0], noise[:, 1]) == gray


@pytest.mark.parametrize("gray", [False, True])
def test_poisson_noise_grows_with_the_light(gray: bool) -> None:
    picture = gray_picture(0.2)
    picture[..., 64:, :] = 0.6  # the picture has two values, so white is two photons
    noisy = add_poisson_noise(picture, 0.1, gray=gray, random=np.random.default_rng(0))
    noise = noisy - picture
    assert torch.equal(noise[:, 0], noise[:, 1]) == gray
    for rows, light in ((slice(0, 64), 0.2), (slice(64, 128), 0.6)):
        assert float(noise[..., rows, :].std()) == pytest.approx(0.1 * (light / 2) ** 0.5, rel=0.05)
        assert float(noise[..., rows, :].mean()) == pytest.approx(0, abs=0.003)


def test_a_picture_of_one_value_gets_poisson_noise() -> None:
    noisy = add_poisson_noise(gray_picture(0.5), 0.1, gray=False, random=np.random.default_rng(0))
    assert noisy.isfinite().all()


def test_nothing_leaves_the_range() -> None:
    random = np.random.default_rng(0)
    picture = torch.rand(1, 3, 32, 32)
    for noisy in (
        add_gaussian_noise(picture, 200, gray=False, random=random),
        add_poisson_noise(picture, 9, gray=False, random=random),
    ):
        assert noisy.min() == 0
        assert noisy.max() == 1


@pytest.mark.parametrize("quality", [30, 95])
def test_jpeg_is_that_of_pillow(quality: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 17, 23, 3), np.uint8)
    picture = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    compressed = compress_jpeg(picture, quality)
    for number, one in enumerate(pixels):
        file = io.BytesIO()
        Image.fromarray(one).save(file, "JPEG", quality=quality)
        expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
        assert torch.equal((compressed[number] * 255).round().to(torch.uint8), expected)
