"""Count the multiply-accumulates of a network for one picture, as published tables count them."""

import math
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.attention.windows import use_attention

_NORM_WEIGHT = 5
"""Multiply-accumulates per element of an affine layer normalization in the tables.

The tool that made the tables calls this a rough count.
"""

_FLOPS_A_MAC = 2


def multiply_accumulates(config: NetworkConfig, height: int, width: int) -> int:
    """Count the multiply-accumulates for one picture, without computing its result.

    The count includes convolutions and matrix products, even those on the padding of the attention windows.
    As in the published tables, it also includes five for each normalized element and one for each pooled
    element.

    Args:
        config: Configuration of the network.
        height: Height of the low-resolution picture, in pixels.
        width: Width of the low-resolution picture, in pixels.

    Source: ``fvcore.nn.flop_count``, which made the tables of the papers. Without norms and pooling, the
    figures of ESC x2 would be 1.2 G too low.
    """
    with torch.device("meta"):
        network = build_network(config).eval().requires_grad_(requires_grad=False)
        low = torch.empty(1, 3, height, width)
    use_attention(network, "naive")  # two plain matrix products; a fused kernel may be counted differently
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
