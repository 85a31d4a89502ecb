"""Test that records hold what the attention layers compute, and that recording changes nothing."""

import pytest
import torch
from torch import nn

from esc_cli.analysis.attention_record import attention_map_sum, recorded
from esc_cli.networks.architectures.esc import ESC
from esc_cli.networks.architectures.esc_rib import ESCRIB, ESCRIBConfig
from esc_cli.networks.architectures.interpolation import Interpolation, InterpolationConfig
from esc_cli.networks.attention.position_bias import FactorBias, PositionBias, TableBias
from esc_cli.networks.attention.windows import attention_layers, naive

TOKENS = 16

BIASES = [
    TableBias(torch.randn(2, 49), window_size=4),
    FactorBias(torch.randn(2, TOKENS, 3), torch.randn(2, TOKENS, 3)),
]


@pytest.mark.parametrize("bias", BIASES)
def test_maps_are_the_weights_of_attention(bias: PositionBias) -> None:
    query, key = torch.randn(3, 2, TOKENS, 5), torch.randn(3, 2, TOKENS, 5)
    # If the values are one-hot vectors of the tokens, the output of attention is its weights.
    names = torch.eye(TOKENS).expand(3, 2, TOKENS, TOKENS)
    expected = naive(query, key, names, bias).sum(dim=(0, 1))
    torch.testing.assert_close(attention_map_sum(query, key, bias), expected)


def test_outputs_and_mean_maps_of_several_pictures(network: ESC) -> None:
    pictures = [torch.rand(1, 3, 11, 12) for _ in range(3)]
    outputs: list[torch.Tensor] = []
    network.blocks[1].attn.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.inference_mode(), recorded(network) as records:
        for picture in pictures:
            network(picture)
    assert [record.layer for record in records] == ["blocks.0.attn", "blocks.1.attn"]
    assert all(torch.equal(a, b.flatten()) for a, b in zip(records[1].outputs, outputs, strict=True))
    for record in records:
        mean = record.mean_map()
        assert mean.shape == (64, 64)
        torch.testing.assert_close(mean.sum(dim=1), torch.ones(64))


def test_a_map_that_is_known(network: ESC) -> None:
    """If all queries and keys are zero, a map is the softmax of the bias."""
    attention = network.blocks[0].attn
    nn.init.zeros_(attention.to_qkv.weight)
    nn.init.zeros_(attention.to_qkv.bias)
    nn.init.normal_(attention.relative_position_bias)
    with torch.inference_mode(), recorded(network) as records:
        network(torch.rand(2, 3, 20, 9))
    expected = attention.position_bias().dense(torch.float32).softmax(dim=-1).mean(dim=0)
    torch.testing.assert_close(records[0].mean_map(), expected)


def test_the_network_is_left_as_it_was(network: ESC) -> None:
    picture = torch.rand(1, 3, 9, 9)
    before = network(picture), [layer.backend for layer in attention_layers(network).values()]
    with pytest.raises(ZeroDivisionError), recorded(network):
        assert torch.equal(network(picture), before[0])
        raise ZeroDivisionError
    assert [layer.backend for layer in attention_layers(network).values()] == before[1]
    assert not any(module._forward_hooks for module in network.modules())


def test_layers_that_are_never_called_as_a_whole() -> None:
    config = ESCRIBConfig(
        2, dim=16, partial_dim=8, heads=2, blocks=2, mixers=1, window_size=8, first_hidden_dim=16,
        hidden_dim=16, kernel_size=5,
    )  # fmt: skip
    network = ESCRIB(config).eval()
    with torch.inference_mode(), recorded(network) as records:
        network(torch.rand(1, 3, 9, 10))
    assert [len(record.outputs[0]) for record in records] == [16 * 9 * 10] * 2
    torch.testing.assert_close(records[1].mean_map().sum(dim=1), torch.ones(64))


def test_without_attention_and_before_it_ran(network: ESC) -> None:
    assert attention_layers(Interpolation(InterpolationConfig(2, "nearest"))) == {}
    with recorded(network) as records, pytest.raises(LookupError, match="has not run"):
        records[0].mean_map()
