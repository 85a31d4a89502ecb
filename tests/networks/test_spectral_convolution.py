"""The convolution in the frequency domain agrees with torch's convolution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from esc_cli.networks.mixers.convolutional import average_over_symmetries
from esc_cli.networks.spectral_convolution import convolve, spectrum_of


def kernel_of(size: int, channels: int = 3, out: int = 3) -> Tensor:
    torch.manual_seed(0)
    return average_over_symmetries(torch.randn(out, channels, size, size, dtype=torch.float64))


@settings(max_examples=40)
@given(
    n=st.integers(1, 3),
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    size=st.sampled_from([1, 3, 5, 12 + 1, 17]),
)
def test_it_is_the_convolution_for_any_size(n: int, height: int, width: int, size: int) -> None:
    kernel, features = kernel_of(size), torch.randn(n, 3, height, width, dtype=torch.float64)
    result = convolve(features, spectrum_of(kernel, torch.float64))
    torch.testing.assert_close(
        result, F.conv2d(features, kernel, padding=size // 2), rtol=1e-10, atol=1e-10, check_stride=False
    )


@pytest.mark.parametrize("shape", [(40, 1300), (1300, 40)])
def test_pictures_of_several_blocks(shape: tuple[int, int]) -> None:
    kernel, features = kernel_of(13), torch.randn(1, 3, *shape, dtype=torch.float64)
    result = convolve(features, spectrum_of(kernel, torch.float64))
    torch.testing.assert_close(
        result, F.conv2d(features, kernel, padding=6), rtol=1e-10, atol=1e-10, check_stride=False
    )


def test_other_numbers_of_channels_and_a_slice_of_a_map() -> None:
    kernel, features = kernel_of(13, channels=16, out=5), torch.randn(2, 64, 33, 50, dtype=torch.float64)
    part = features.to(memory_format=torch.channels_last)[:, :16]
    result = convolve(part, spectrum_of(kernel, torch.float64))
    torch.testing.assert_close(
        result, F.conv2d(part, kernel, padding=6), rtol=1e-10, atol=1e-10, check_stride=False
    )


def test_in_float32_it_is_as_exact_as_torch_s_own() -> None:
    kernel, features = kernel_of(13, 16, 16), torch.randn(1, 16, 64, 64, dtype=torch.float64)
    exact = F.conv2d(features, kernel, padding=6)
    error = (convolve(features.float(), spectrum_of(kernel)) - exact).abs().max()
    direct = (F.conv2d(features.float(), kernel.float(), padding=6) - exact).abs().max()
    assert error < 1.5 * direct


def test_bfloat16_is_rounded_once() -> None:
    kernel, features = kernel_of(13, 16, 16), torch.randn(1, 16, 40, 40).bfloat16()
    result = convolve(features, spectrum_of(kernel))
    exact = F.conv2d(features.double(), kernel, padding=6)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result.double(), exact, rtol=2**-8, atol=1e-3)
