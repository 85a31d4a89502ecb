"""Test the metrics against independent numbers and formulas."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from esc_cli.evaluation.metrics import crop_border, luma, psnr, ssim


def test_psnr_of_a_known_error() -> None:
    first = torch.zeros(1, 1, 4, 4)
    assert psnr(first, first + 255) == 0
    # An error of one level everywhere is 20 log10(255).
    assert psnr(first, first + 1) == pytest.approx(48.1308, abs=1e-4)
    assert psnr(first, first) == math.inf


def test_luma_is_that_of_bt601() -> None:
    colors = torch.tensor([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]])
    picture = colors.T.reshape(1, 3, 1, 5).to(torch.uint8)
    # Source: Rec. ITU-R BT.601-7, and MATLAB's rgb2ycbcr of the same colors.
    expected = torch.tensor([16.0, 235.0, 81.481, 144.553, 40.966], dtype=torch.float64)
    torch.testing.assert_close(luma(picture).flatten(), expected)


def test_gray_is_taken_as_it_is() -> None:
    picture = torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8).expand(-1, 3, -1, -1)
    torch.testing.assert_close(luma(picture, gray=True), picture[:, :1].double())
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    ours = luma(torch.from_numpy(np.array(image)).permute(2, 0, 1)[None], gray=True)
    assert np.abs(ours[0, 0].numpy() - np.array(image.convert("L"))).max() < 1


def test_ssim_spelled_out_for_one_window() -> None:
    first, second = torch.rand(2, 1, 1, 11, 11, dtype=torch.float64).mul(255).unbind()
    weights = torch.tensor([math.exp(-(x**2) / 4.5) for x in range(-5, 6)], dtype=torch.float64)
    weights = torch.outer(weights, weights) / torch.outer(weights, weights).sum()
    x, y = first[0, 0], second[0, 0]
    mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
    variance_x, variance_y = (weights * (x - mean_x) ** 2).sum(), (weights * (y - mean_y) ** 2).sum()
    covariance = (weights * (x - mean_x) * (y - mean_y)).sum()
    c1, c2 = 6.5025, 58.5225
    expected = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    expected /= (mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2)
    assert ssim(first, second) == pytest.approx(float(expected), abs=1e-9)
    assert ssim(first, first) == pytest.approx(1.0)


@pytest.mark.parametrize("shape", [(1, 1), (3, 20), (20, 3)])
def test_ssim_of_small_pictures(shape: tuple[int, int]) -> None:
    picture = torch.rand(1, 1, *shape) * 255
    assert ssim(picture, picture) == pytest.approx(1.0)


def test_border_is_cut_as_far_as_there_is_one() -> None:
    assert crop_border(torch.zeros(1, 1, 10, 9), 3).shape == (1, 1, 4, 3)
    assert crop_border(torch.zeros(1, 1, 4, 1), 3).shape == (1, 1, 2, 1)


@pytest.mark.parametrize("height", [1, 26, 300])
@pytest.mark.parametrize("gray", [False, True])
def test_luma_is_compared_in_strips(height: int, gray: bool) -> None:
    first, second = (torch.randint(0, 256, (1, 3, height, 3000), dtype=torch.uint8) for _ in range(2))
    plane, rows = partial(luma, gray=gray), []

    def counted(picture: torch.Tensor) -> torch.Tensor:
        rows.append(picture.shape[-2])
        return plane(picture)

    error = (plane(first) - plane(second)).square().mean()
    assert psnr(first, second, counted) == pytest.approx(float(10 * torch.log10(255**2 / error)), abs=1e-10)
    assert ssim(first, second, counted) == ssim(plane(first), plane(second))
    assert max(rows) <= 2**18 // 3000 + 10
    assert psnr(first, first, plane) == math.inf


def test_ssim_of_a_high_picture_is_that_of_its_parts() -> None:
    first, second = (torch.rand(1, 1, 600, 999, dtype=torch.float64) * 255 for _ in range(2))
    # A window of 11 rows begins in rows 0 to 289 of the upper part, and in rows 290 to 589 of the lower one.
    upper, lower = (ssim(first[..., rows, :], second[..., rows, :]) for rows in (slice(300), slice(290, 600)))
    assert ssim(first, second) == pytest.approx((290 * upper + 300 * lower) / 590, abs=1e-12)
