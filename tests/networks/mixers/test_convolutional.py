"""Convolutional attention agrees with explicit loops and plain convolutions."""

import pytest
import torch
from torch.nn import functional as F

from esc_cli.networks.mixers.convolutional import (
    ConvolutionalAttention,
    DecomposedConvolutionalAttention,
    StaticConvolutionalAttention,
    average_over_symmetries,
    convolve_per_sample,
    kernel_of_all_layers,
)


def test_averaged_kernel_has_all_symmetries_and_stays() -> None:
    kernel = average_over_symmetries(torch.randn(3, 2, 5, 5))
    for image in (kernel.flip(-1), kernel.flip(-2), kernel.rot90(1, (-2, -1)), kernel.transpose(-2, -1)):
        torch.testing.assert_close(image, kernel)
    torch.testing.assert_close(average_over_symmetries(kernel), kernel)


def test_a_kernel_for_all_layers_is_cast_as_autocast_would_and_learns_in_full_precision() -> None:
    kernel = torch.randn(3, 2, 5, 5, requires_grad=True)
    assert torch.equal(kernel_of_all_layers(kernel), average_over_symmetries(kernel))
    with torch.autocast("cpu", torch.bfloat16):
        cast = kernel_of_all_layers(kernel)
    assert torch.equal(cast, average_over_symmetries(kernel).bfloat16())
    cast.sum().backward()
    assert kernel.grad is not None
    assert kernel.grad.dtype == torch.float32


def test_each_sample_has_its_own_kernels() -> None:
    features, kernels = torch.randn(2, 3, 6, 7), torch.randn(6, 1, 3, 3)
    result = convolve_per_sample(features, kernels)
    for sample in range(2):
        for channel in range(3):
            plane = features[sample, channel][None, None]
            expected = F.conv2d(plane, kernels[3 * sample + channel][None], padding=1)[0, 0]
            torch.testing.assert_close(result[sample, channel], expected)


@pytest.mark.parametrize("channels", [8, 12])
def test_other_channels_pass_and_batches_are_singles(channels: int) -> None:
    mixer = ConvolutionalAttention(8, 5)
    torch.nn.init.normal_(mixer.dwc_proj[3].weight)
    large = torch.randn(8, 8, 5, 5)
    features = torch.randn(2, channels, 9, 7)
    with torch.inference_mode():
        both = mixer(features, large)
        singles = torch.cat([mixer(one, large) for one in features.split(1)])
    torch.testing.assert_close(both, singles)
    assert torch.equal(both[:, 8:], features[:, 8:])


def test_decomposed_kernel_is_the_sum_of_two_convolutions() -> None:
    mixer = DecomposedConvolutionalAttention(8, 5)
    features, pointwise, spatial = torch.randn(2, 8, 9, 7), torch.randn(8, 8, 1, 1), torch.randn(8, 1, 5, 5)
    with torch.inference_mode():
        result = mixer(features, pointwise, spatial)
        mixed = F.conv2d(features, pointwise)
        large = F.conv2d(mixed, spatial, padding=2, groups=8)
        small = convolve_per_sample(mixed, mixer.dynamic_kernels(features))
    torch.testing.assert_close(result, large + small, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_the_decomposed_kernel_is_the_same_in_bfloat16() -> None:
    torch.manual_seed(0)
    mixer = DecomposedConvolutionalAttention(8, 5)
    tensors = [torch.randn(2, 8, 9, 7), torch.randn(8, 8, 1, 1), torch.randn(8, 1, 5, 5)]
    gradients = []
    for dtype in (torch.float64, torch.bfloat16):
        inputs = [one.to(dtype).requires_grad_() for one in tensors]
        mixer.to(dtype)(*inputs).square().sum().backward()
        gradients.append([one.grad for one in inputs])
    for exact, rounded in zip(*gradients, strict=True):
        assert exact is not None
        assert rounded is not None
        assert (rounded - exact).norm() < 0.02 * exact.norm()


def test_a_kernel_of_its_own_is_used_as_a_shared_one_is() -> None:
    mixer, shared = ConvolutionalAttention(8, 5, own_kernel=True), ConvolutionalAttention(8, 5)
    torch.nn.init.normal_(mixer.dwc_proj[3].weight)
    shared.dwc_proj.load_state_dict(mixer.dwc_proj.state_dict())
    features = torch.randn(2, 12, 9, 7)
    with torch.inference_mode():
        expected = shared(features, average_over_symmetries(mixer.plk_filter))
        assert torch.equal(mixer(features), expected)


def test_static_is_what_dynamic_kernels_of_zero_leave() -> None:
    large, features = torch.randn(8, 8, 5, 5), torch.randn(2, 12, 9, 7)
    with torch.inference_mode():  # the layer that makes the dynamic kernels is zero at the start
        expected = ConvolutionalAttention(8, 5)(features, large)
        assert torch.equal(StaticConvolutionalAttention(8, 5)(features, large), expected)
