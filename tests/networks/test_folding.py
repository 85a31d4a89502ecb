"""Folded networks compute the same functions as the networks before folding."""

import copy

import pytest
import torch
from torch import nn

from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.blocks import ConvFFN
from esc_cli.networks.folding import FoldedMixingLayer, fold_pointwise

CONFIGS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, dim=16, partial_dim=4, heads=2, blocks=2, mixers=2, window_size=8, inner_norm=True),
    ESCFPConfig(3, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCConfig(2, dim=16, partial_dim=16, heads=2, blocks=1, mixers=1, window_size=8),
)


def random_network(config: NetworkConfig) -> nn.Module:
    network = build_network(config).eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_folded_network_gives_the_same(config: NetworkConfig) -> None:
    network = random_network(config).double()
    folded = copy.deepcopy(network)
    fold_pointwise(folded)
    low = torch.rand(2, 3, 13, 17, dtype=torch.float64)
    with torch.inference_mode():
        expected = network(low)
        torch.testing.assert_close(folded(low), expected, rtol=1e-6, atol=1e-6 * expected.abs().max())


def test_an_eighth_of_a_mixing_layer_goes_away() -> None:
    network = build_network(ESCConfig(4))
    before = mixing_weights(network)
    fold_pointwise(network)
    after = mixing_weights(network)
    assert sum(isinstance(module, FoldedMixingLayer) for module in network.modules()) == 25
    assert 0.88 < after / before < 0.89


def mixing_weights(network: nn.Module) -> int:
    """Count the multiplications per pixel of all mixing layers without their mixers: one for each weight."""
    names = {name: value for name, value in network.named_parameters() if name.endswith("weight")}
    return sum(
        value.numel()
        for name, value in names.items()
        if (".convffns." in name or ".pconvs." in name) and ".plk." not in name
    )


def test_half_precision_is_folded_in_full() -> None:
    """The weights are rounded only once, after the product was computed in full precision."""
    network = random_network(CONFIGS[0])
    half = copy.deepcopy(network).bfloat16()
    exact = copy.deepcopy(half).float()
    for one in (half, exact):
        fold_pointwise(one)
    weights = [
        next(m for m in one.modules() if isinstance(m, FoldedMixingLayer)).passing.weight
        for one in (half, exact)
    ]
    assert weights[0].dtype == torch.bfloat16
    assert torch.equal(weights[0], weights[1].bfloat16())


def test_the_feed_forward_network_before_a_folded_layer_gives_its_hidden_channels() -> None:
    network = random_network(CONFIGS[0])
    fold_pointwise(network)
    ffn = next(m for name, m in network.named_modules() if isinstance(m, ConvFFN) and "convffns" in name)
    with torch.inference_mode():
        assert ffn(torch.rand(1, 16, 5, 5)).shape[1] == CONFIGS[0].hidden_dim  # type: ignore[union-attr]
