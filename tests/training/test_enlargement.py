"""Test that a network can start as a plain enlargement of the picture."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from esc_cli.errors import UsageError
from esc_cli.networks.architectures.esc import ESC, ESCConfig
from esc_cli.networks.architectures.esc_fp import ESCFP, ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCReal, ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealM, ESCRealMConfig
from esc_cli.training.enlargement import start_as_enlargement

SMALL = {
    "dim": 16,
    "partial_dim": 8,
    "heads": 2,
    "mixers": 1,
    "window_size": 8,
    "kernel_size": 5,
    "blocks": 1,
}


@pytest.mark.parametrize(
    ("network", "mode"),
    [
        (ESC(ESCConfig(4, **SMALL)), "nearest"),
        (ESCFP(ESCFPConfig(4, **SMALL)), "bicubic"),
        (ESCReal(ESCRealConfig(4, **SMALL)), "nearest"),
        (ESCReal(ESCRealConfig(2, head="neosr", **SMALL)), "nearest"),
    ],
)
def test_the_first_output_is_the_enlarged_input(network: nn.Module, mode: str) -> None:
    low = torch.rand(2, 3, 9, 7)
    start_as_enlargement(network)
    high = network(low)
    torch.testing.assert_close(high, F.interpolate(low, high.shape[-2:], mode=mode))
    high.sum().backward()
    assert all(parameter.grad.any() for parameter in list(network.to_img.parameters())[-2:])


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_network_that_cannot_says_so(scale: int) -> None:
    with pytest.raises(UsageError, match="cannot start as a plain enlargement"):
        start_as_enlargement(ESCRealM(ESCRealMConfig(scale, **SMALL)))


def test_learned_sampling_starts_close_to_it() -> None:
    network, low = ESCReal(ESCRealConfig(3, head="dysample", **SMALL)), torch.rand(1, 3, 9, 7)
    start_as_enlargement(network)
    with torch.inference_mode():
        high = network(low)
    torch.testing.assert_close(high, F.interpolate(low, high.shape[-2:], mode="bilinear"), rtol=0, atol=0.1)
