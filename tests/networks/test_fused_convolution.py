"""Fused operations against the plain ones."""

import copy

import pytest
import torch
from torch import Tensor, nn

from esc_cli.engine.cpu import can_fuse
from esc_cli.networks.fused_convolution import FUSED, PLAIN

CONVOLUTIONS = {
    "pointwise": nn.Conv2d(12, 20, 1),
    "3x3": nn.Conv2d(12, 20, 3, padding=1),
    "depthwise": nn.Conv2d(12, 12, 3, padding=1, groups=12),
}
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def maps(convolution: nn.Conv2d, layout: torch.memory_format) -> tuple[Tensor, Tensor]:
    """Give an input and a map of the output's shape, both the rows of larger maps as strips are."""
    torch.manual_seed(0)
    features, other = torch.randn(2, 12, 30, 9), torch.randn(2, convolution.out_channels, 30, 9)
    return features.to(memory_format=layout)[:, :, 5:16], other.to(memory_format=layout)[:, :, 5:16]


@pytest.mark.skipif(not can_fuse(torch.float32), reason="this torch build has no fused operations")
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_fused_equals_plain(name: str, layout: torch.memory_format) -> None:
    convolution = copy.deepcopy(CONVOLUTIONS[name]).to(memory_format=layout)
    features, other = maps(convolution, layout)
    before = other.clone()
    with torch.inference_mode():
        torch.testing.assert_close(FUSED.gelu_of(convolution, features), PLAIN.gelu_of(convolution, features))
        fused, plain = (ops.added(convolution, features, other) for ops in (FUSED, PLAIN))
    torch.testing.assert_close(fused, plain)
    assert torch.equal(other, before)


@pytest.mark.skipif(not can_fuse(torch.bfloat16), reason="this processor has no fused bfloat16")
def test_bfloat16_rounds_no_more_than_plain() -> None:
    convolution = copy.deepcopy(CONVOLUTIONS["3x3"])
    features, other = maps(convolution, torch.channels_last)
    with torch.inference_mode():
        exact = PLAIN.added(convolution, features, other)
        narrow = copy.deepcopy(convolution).bfloat16(), features.bfloat16(), other.bfloat16()
        fused, plain = ((ops.added(*narrow).float() - exact).abs().mean() for ops in (FUSED, PLAIN))
    assert 0 < fused <= 1.05 * plain


def test_float64_is_left_to_the_plain_ones() -> None:
    assert not can_fuse(torch.float64)
    assert not can_fuse(torch.float16)
