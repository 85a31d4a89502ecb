"""Test that the border loss measures steps between attention windows, and the frequency loss frequencies."""

import numpy as np
import pytest
import torch

from esc_cli.training.losses import border_loss, frequency_loss


def test_a_step_at_a_border_costs_its_height() -> None:
    error = torch.zeros(2, 3, 32, 32)
    error[..., 16:] = 0.25
    # The mean covers rows and columns, but the step is between columns only.
    assert border_loss(error, scale=2, window_px=8).item() == pytest.approx(0.25 / 2)
    assert border_loss(error.mT, scale=2, window_px=8).item() == pytest.approx(0.25 / 2)


def test_steps_elsewhere_and_noise_within_a_pixel_cost_nothing() -> None:
    error = torch.zeros(1, 3, 32, 32)
    error[..., 8:] = 0.25
    error[..., 0::2, 0::2] += 0.1
    assert border_loss(error, scale=2, window_px=8).item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize(("patch_px", "borders"), [(9, [8]), (16, [8]), (17, [8, 16]), (24, [8, 16])])
def test_every_border_counts(patch_px: int, borders: list[int]) -> None:
    for border in borders:
        error = torch.zeros(1, 1, patch_px, patch_px)
        error[..., border:, :] = 1
        assert border_loss(error, scale=1, window_px=8).item() == pytest.approx(0.5 / len(borders))


def test_it_has_a_gradient_on_both_sides() -> None:
    error = torch.randn(1, 3, 32, 32).requires_grad_()
    border_loss(error, scale=2, window_px=8).backward()
    assert error.grad is not None
    touched = error.grad.abs().sum(dim=(0, 1, 2)).nonzero().flatten().tolist()
    assert set(range(14, 18)) <= set(touched)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (6, 10), (5, 7)])
def test_frequencies_are_those_of_numpy(height: int, width: int) -> None:
    error = torch.randn(2, 3, height, width)
    spectrum = np.fft.rfft2(error.numpy())
    expected = (np.abs(spectrum.real).mean() + np.abs(spectrum.imag).mean()) / 2
    assert frequency_loss(error).item() == pytest.approx(expected, rel=1e-5)


def test_every_frequency_pulls_with_the_same_force() -> None:
    """A tiny error of high frequency has a gradient as large as a large error of low frequency."""
    rows = torch.arange(16).float()
    forces = []
    for height, cycles in ((10.0, 1), (0.01, 7)):
        wave = height * torch.cos(2 * torch.pi * cycles * rows / 16).view(1, 1, 16, 1).expand(1, 1, 16, 16)
        error = (wave + 0.0).requires_grad_()
        frequency_loss(error).backward()
        assert error.grad is not None
        force = torch.fft.rfft2(error.grad)[0, 0, cycles, 0].abs()
        forces.append(float(force))
    assert forces[0] == pytest.approx(forces[1], rel=1e-3)
