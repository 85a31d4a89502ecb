"""The parameters of each ablation differ from those of ESC by a number that was computed by hand."""

import dataclasses

import pytest
import torch

from esc_cli.networks.ablations import ABLATIONS
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network

BLOCKS, LAYERS, HEADS, CHANNELS = 5, 25, 4, 16
LARGE = CHANNELS**2 * 13**2
TABLE = (2 * 32 - 1) ** 2
"""Number of biases of one attention head."""

DYNAMIC = (CHANNELS + 1) * 8 + (8 + 1) * 9 * CHANNELS
"""Number of parameters of the two layers that make dynamic kernels from a mean."""

ATTENTION = (64 + 1) * 3 * 64 + (64 + 1) * 64 + HEADS * TABLE
PARTIAL_ATTENTION = (CHANNELS + 1) * 3 * CHANNELS + (CHANNELS + 1) * CHANNELS + TABLE
MIXING_LAYER = DYNAMIC + (64 + 1) * 64

MORE_PARAMETERS = {
    "self-attention-only": LAYERS * (PARTIAL_ATTENTION - DYNAMIC) - LARGE,
    "convolutional-attention-only": BLOCKS * (MIXING_LAYER - ATTENTION),
    "kernel-9": CHANNELS**2 * (9**2 - 13**2),
    "kernel-17": CHANNELS**2 * (17**2 - 13**2),
    "no-sharing": (LAYERS - 1) * LARGE,
    "no-dynamic-kernel": -LAYERS * DYNAMIC,
    "no-sharing-no-dynamic-kernel": (LAYERS - 1) * LARGE - LAYERS * DYNAMIC,
    "window-16": BLOCKS * HEADS * ((2 * 16 - 1) ** 2 - TABLE),
    "window-64": BLOCKS * HEADS * ((2 * 64 - 1) ** 2 - TABLE),
}


def parameters(config: ESCConfig) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build_network(config).parameters())


@pytest.mark.parametrize("name", ABLATIONS)
def test_parameters_differ_by_what_was_exchanged(name: str) -> None:
    config = ABLATIONS[name](4)
    assert config.scale == 4
    assert parameters(config) == parameters(ESCConfig(4)) + MORE_PARAMETERS[name]


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_parameter_is_trained(name: str) -> None:
    config = ABLATIONS[name](2)
    small = dataclasses.replace(
        config,
        dim=16,
        partial_dim=8,
        heads=config.heads // 2,
        blocks=1,
        mixers=2,
        window_size=config.window_size // 8 or 1,
        first_hidden_dim=8,
        hidden_dim=8,
    )
    network = build_network(small).double()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # a layer of zeros passes no gradient back
    network(torch.rand(1, 3, 20, 12, dtype=torch.float64)).square().mean().backward()
    assert all(one.grad is not None and one.grad.any() for one in network.parameters())
