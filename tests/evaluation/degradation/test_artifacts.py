import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from esc_cli.evaluation.degradation.artifacts import (
    add_gaussian_noise,
    add_poisson_noise,
    blur,
    compress_jpeg,
    gaussian_kernel,
    sharpen,
    sinc_kernel,
)


def covariance(kernel: torch.Tensor) -> torch.Tensor:
    offsets = torch.arange(kernel.shape[0]) - kernel.shape[0] // 2
    y, x = torch.meshgrid(offsets, offsets, indexing="ij")
    xy, xx, yy = ((kernel * product).sum() for product in (x * y, x * x, y * y))
    return torch.tensor([[xx, xy], [xy, yy]])


@given(st.floats(0.8, 2), st.floats(0.8, 2), st.floats(-math.pi, math.pi))
def test_a_gaussian_has_its_ellipse(sigma_x: float, sigma_y: float, rotation: float) -> None:
    kernel = gaussian_kernel(21, (sigma_x, sigma_y), rotation=rotation)
    turn = torch.tensor([[math.cos(rotation), -math.sin(rotation)], [math.sin(rotation), math.cos(rotation)]])
    expected = turn @ torch.diag(torch.tensor([sigma_x**2, sigma_y**2])) @ turn.T
    torch.testing.assert_close(covariance(kernel), expected, atol=0.01, rtol=0.01)


@given(
    st.integers(3, 10),
    st.floats(0.2, 3),
    st.floats(0.2, 3),
    st.floats(-3, 3),
    st.floats(0.5, 4),
    st.booleans(),
)
def test_kernels_are_symmetric_and_keep_the_light(
    half: int, sigma_x: float, sigma_y: float, rotation: float, shape: float, plateau: bool
) -> None:
    kernel = gaussian_kernel(
        2 * half + 1, (sigma_x, sigma_y), rotation=rotation, shape=shape, plateau=plateau
    )
    assert kernel.dtype == torch.float32
    assert kernel.min() >= 0
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(kernel, kernel.flip(0, 1))


def test_plateaus_have_longer_tails_than_gaussians_and_generalised_ones_flatter_tops() -> None:
    plain = gaussian_kernel(21, (2, 2))
    assert gaussian_kernel(21, (2, 2), plateau=True)[10, 0] > 10 * plain[10, 0]
    flat = gaussian_kernel(21, (2, 2), shape=4)
    assert flat[10, 11] / flat[10, 10] > 0.99 > plain[10, 11] / plain[10, 10]


def test_a_sinc_passes_low_frequencies_and_stops_high_ones() -> None:
    cutoff = math.pi / 2
    response = torch.fft.rfft2(sinc_kernel(101, cutoff)).abs()[0]
    frequencies = torch.linspace(0, math.pi, len(response))
    assert response[frequencies < 0.8 * cutoff].sub(1).abs().max() < 0.1
    assert response[frequencies > 1.2 * cutoff].max() < 0.1


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([7, 13, 21]))
def test_a_blur_is_the_convolution(height: int, width: int, side: int) -> None:
    torch.manual_seed(0)
    picture = torch.rand(2, 3, height, width)
    kernel = gaussian_kernel(side, (2, 1), rotation=0.5)
    planes = F.pad(picture, (side // 2,) * 4, mode="replicate").view(
        6, 1, *(x + side - 1 for x in (height, width))
    )
    expected = F.conv2d(planes, kernel[None, None]).view(picture.shape)
    torch.testing.assert_close(blur(picture, kernel), expected, atol=1e-5, rtol=0)


def test_sharpening_widens_edges_and_spares_the_rest() -> None:
    picture = torch.full((1, 3, 80, 160), 0.3)
    picture[..., 80:] = 0.7
    sharp = sharpen(picture)
    assert sharp[..., 40, 79].max() < 0.27
    assert sharp[..., 40, 80].min() > 0.73
    faint = torch.full((1, 3, 80, 160), 0.5)
    faint[..., 80:] = 0.53  # a difference below the threshold
    torch.testing.assert_close(sharpen(faint), faint, atol=1e-6, rtol=0)


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
