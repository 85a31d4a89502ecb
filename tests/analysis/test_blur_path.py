"""Test attributions along the path from a blurred to a sharp picture, where their sum is known."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.analysis import blur_path as module
from esc_cli.analysis.blur_path import SIGMA_PX, blur, detail_in_window, gradient, path_attribution
from esc_cli.errors import OutOfMemoryError


def published_kernel(sigma_px: float) -> np.ndarray:
    """Return the published 9x9 kernel in two dimensions."""
    x, y = np.meshgrid(np.arange(-4, 5), np.arange(-4, 5))
    weights = np.exp(-(x**2 + y**2) / (2 * (sigma_px + 1e-5) ** 2))
    return weights / weights.sum()


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1.2, 0.5, 0.024, 0]))
def test_blur_is_the_published_kernel_on_the_mirrored_picture(height: int, width: int, sigma: float) -> None:
    picture = torch.rand(2, 3, height, width, dtype=torch.float64)
    kernel = published_kernel(sigma)
    padded = np.pad(picture.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)), mode="reflect")
    views = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(2, 3))
    expected = torch.from_numpy((views * kernel).sum(axis=(-2, -1)))
    torch.testing.assert_close(blur(picture, sigma), expected, rtol=0, atol=1e-4)


def test_a_linear_objective_is_shared_exactly() -> None:
    picture, weights = torch.rand(2, 3, 9, 14, dtype=torch.float64), torch.rand(2, 3, 9, 14)
    attribution = path_attribution(lambda point: (point * weights).sum(), picture)
    torch.testing.assert_close(attribution, weights * (picture - blur(picture, SIGMA_PX)))


def test_shares_add_up_to_the_gain_the_better_the_finer_the_steps() -> None:
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64)

    def objective(point: Tensor) -> Tensor:
        return detail_in_window(point, 4, 5, 6)

    gain = float(objective(picture) - objective(blur(picture, SIGMA_PX)))
    errors = [abs(float(path_attribution(objective, picture, steps).sum()) / gain - 1) for steps in (10, 200)]
    assert errors[1] < 0.01
    assert errors[1] < errors[0] / 10


def test_it_tells_how_far_it_is() -> None:
    seen: list[tuple[int, int]] = []
    path_attribution(torch.sum, torch.rand(1, 3, 4, 4), 3, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@settings(max_examples=20)
@given(st.integers(0, 6), st.integers(0, 8), st.integers(1, 12))
def test_detail_is_the_length_of_the_gradient_summed_up(top: int, left: int, size_px: int) -> None:
    picture = torch.rand(1, 2, 7, 9, dtype=torch.float64)
    expected = 0.0
    for channel in range(2):
        for y in range(top, min(top + size_px, 6)):
            for x in range(left, min(left + size_px, 8)):
                here = picture[0, channel, y, x]
                down, across = picture[0, channel, y + 1, x] - here, picture[0, channel, y, x + 1] - here
                expected += float((down**2 + across**2) ** 0.5)
    assert float(detail_in_window(picture, top, left, size_px)) == pytest.approx(expected)


def test_nothing_is_infinite_where_a_picture_is_flat() -> None:
    flat = torch.full((1, 3, 8, 8), 0.5, requires_grad=True)
    detail_in_window(flat, 0, 0, 8).backward()
    assert torch.equal(flat.grad, torch.zeros(1, 3, 8, 8))


def test_gradient_of_a_square(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(1, 3, 4, 5)
    with torch.no_grad():
        torch.testing.assert_close(gradient(lambda point: point.square().sum(), picture), 2 * picture)
    assert not picture.requires_grad


@pytest.mark.parametrize(("free", "enough"), [(3.5, True), (2.5, False)])
def test_memory_is_counted_once_for_each_tensor(
    monkeypatch: pytest.MonkeyPatch, free: float, enough: bool
) -> None:
    picture = torch.rand(1, 1, 100, 100)
    size_bytes = picture.numel() * picture.element_size()

    def objective(point: Tensor) -> Tensor:
        """Save three tensors for the backward pass; the view of the sine takes no memory of its own."""
        wave = point.sin()  # saves the point
        return (wave * wave.view(-1).view_as(wave)).exp().sum()  # saves the wave and the exponential

    monkeypatch.setattr(module, "free_bytes", lambda device: free * size_bytes / 0.8)
    if enough:
        gradient(objective, picture)
    else:
        with pytest.raises(OutOfMemoryError, match="the gradients need more than"):
            gradient(objective, picture)
