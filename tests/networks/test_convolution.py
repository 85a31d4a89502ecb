"""Packed convolutions give the same results as plain ones."""

import copy

import pytest
import torch
from torch import Tensor

from esc_cli.networks.convolution import (
    Convolution,
    PackedConvolution,
    PackedPointwise,
    can_pack,
    packed,
)

CONVOLUTIONS = {
    "pointwise": Convolution(12, 20, 1),
    "pointwise without bias": Convolution(12, 20, 1, bias=False),
    "3x3": Convolution(12, 20, 3, padding=1, bias=False),
    "depthwise": Convolution(12, 12, 3, padding=1, groups=12),
}
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def maps(convolution: Convolution, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    """Return an input and a map of the output's shape. Both are rows of larger maps, as strips are."""
    torch.manual_seed(0)
    features, other = torch.randn(2, 12, 30, 9), torch.randn(2, convolution.out_channels, 30, 9)
    return features.to(memory_format=layout)[:, :, 5:16], other.to(memory_format=layout)[:, :, 5:16]


@pytest.mark.skipif(not can_pack(torch.float32), reason="this torch build has no such operations")
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_packed_equals_plain(name: str, layout: torch.memory_format) -> None:
    plain = copy.deepcopy(CONVOLUTIONS[name]).to(memory_format=layout)
    form = packed(plain)
    assert isinstance(form, PackedPointwise if "pointwise" in name else PackedConvolution)
    features, other = maps(plain, layout)
    before = other.clone()
    with torch.inference_mode():
        torch.testing.assert_close(form(features), plain(features))
        torch.testing.assert_close(form.gelu(features), plain.gelu(features))
        torch.testing.assert_close(form.added(features, other), plain.added(features, other))
    assert torch.equal(other, before)


@pytest.mark.skipif(not can_pack(torch.float32), reason="this torch build has no such operations")
def test_pixels_are_those_of_a_pointwise_convolution() -> None:
    plain, pixels = CONVOLUTIONS["pointwise"], torch.randn(3, 7, 12)
    expected = plain(pixels.permute(0, 2, 1)[..., None])[..., 0].permute(0, 2, 1)
    with torch.inference_mode():
        torch.testing.assert_close(plain.of_pixels(pixels), expected)
        torch.testing.assert_close(PackedPointwise(plain).of_pixels(pixels), expected)


@pytest.mark.skipif(not can_pack(torch.bfloat16), reason="this processor has no bfloat16 of its own")
@pytest.mark.parametrize("name", ["3x3", "pointwise"])
def test_bfloat16_rounds_no_more_than_plain(name: str) -> None:
    convolution = copy.deepcopy(CONVOLUTIONS[name])
    features, other = maps(convolution, torch.channels_last)
    with torch.inference_mode():
        exact = convolution.added(features, other)
        plain = copy.deepcopy(convolution).bfloat16()
        forms = packed(plain), plain
        errors = [form.added(features.bfloat16(), other.bfloat16()).float() - exact for form in forms]
    packed_error, plain_error = (error.abs().mean() for error in errors)
    assert 0 < packed_error <= 1.05 * plain_error


def test_other_dtypes_are_left_to_the_plain_ones() -> None:
    assert not can_pack(torch.float64)
    assert not can_pack(torch.float16)
