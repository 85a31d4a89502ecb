"""Multiply-accumulates of a network for one picture, counted as the field's tables count them."""

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.attention.windows import use_attention

_NORM_WEIGHT = 5
"""What the tables count for each element of an affine layer normalisation; its counter calls it rough."""

_FLOPS_A_MAC = 2


def multiply_accumulates(config: NetworkConfig, height: int, width: int) -> int:
    """Count what one picture takes, without computing it.

    Convolutions and matrix products, those on the attention windows' padding included; and, since the
    published tables do so, five for each element that is normalised and one for each that is pooled.

    Args:
        config: Of the network.
        height: Of the low-resolution picture, pixels.
        width: As ``height``.

    Source: ``fvcore.nn.flop_count``, by which the papers' tables were made: without norms and pooling, the
    figures of ESC x2 would be 1.2 G too low.
    """
    with torch.device("meta"):
        network = build_network(config).eval().requires_grad_(requires_grad=False)
        low = torch.empty(1, 3, height, width)
    use_attention(network, "naive")  # two plain products; a fused kernel may be counted otherwise
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_COUNTED_BY_THE_TABLES) as counter:
        network(low)
    flops: int = counter.get_total_flops()
    return flops // _FLOPS_A_MAC


def _norm_flops(shape: torch.Size, *_: Any, **__: Any) -> int:
    return _FLOPS_A_MAC * _NORM_WEIGHT * math.prod(shape)


def _pooling_flops(shape: torch.Size, *_: Any, **__: Any) -> int:
    return _FLOPS_A_MAC * math.prod(shape)


_COUNTED_BY_THE_TABLES = {
    torch.ops.aten.native_layer_norm: _norm_flops,
    torch.ops.aten.sum: _pooling_flops,
}
