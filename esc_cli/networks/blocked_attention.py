"""Attention in bfloat16 on the CPU, window after window, by oneDNN's fused matrix products.

Torch's own CPU kernel spends as long in bfloat16 as in float32: its products are faster, its exponentials
are not. Here they are made by the epilogue of the product, which has no exponential but the logistic
function: 1 / (1 + e^-x) is e^x up to a relative e^x, which below -7 is less than bfloat16 tells apart. Each
query's scores are pushed below that by a bound on them, an amount that cancels when the weights are
normalised. The bias is a factor e^b of the weights, kept in place of itself.
"""

import torch
from torch import Tensor

from esc_cli.networks.position_bias import LARGEST_CACHED_BYTES, PositionBias, TableBias
from esc_cli.networks.sdpa_attention import sdpa

_DEPTH = 7.0
"""Scores are at most minus this: e^-7 is half of bfloat16's rounding, 2^-9."""

_DEEPEST = 80.0
"""Scores below minus this would give weights too small to tell apart."""


def blocked(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention in bfloat16 on the CPU; whatever else it is asked for is left to ``sdpa``.

    The errors are twice those of torch's kernel: weights are rounded before the bias enters them, too.
    """
    if not (_suits(query) and isinstance(bias, TableBias) and not bias.needs_gradient):
        return sdpa(query, key, value, bias)
    if bias.table.is_inference() or len(bias.table) * query.shape[2] ** 2 * 2 > LARGEST_CACHED_BYTES:
        return sdpa(query, key, value, bias)  # the factors could not be kept
    factors, spread = bias.cache.recall("factors", bias.table, query.dtype, lambda: _factors(bias))
    scaled = query.float() * query.shape[-1] ** -0.5
    bound = scaled.norm(dim=-1, keepdim=True) * key.float().norm(dim=-1).amax(-1)[..., None, None]
    if 2 * bound.max().item() + spread + _DEPTH > _DEEPEST:
        return sdpa(query, key, value, bias)
    ones = torch.ones_like(key[..., :1])
    pushed = torch.cat((scaled, -bound - _DEPTH), dim=-1).to(query.dtype)
    return _attend(pushed, torch.cat((key, ones), dim=-1), value, factors)


def _suits(query: Tensor) -> bool:
    on_cpu = query.device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return on_cpu and query.dtype == torch.bfloat16 and not torch.is_grad_enabled()


def _factors(bias: TableBias) -> tuple[Tensor, float]:
    """Give e^(b - the head's largest b), (heads, queries, keys), bfloat16, and how far biases lie apart."""
    table = bias.table.float()
    below = table - table.amax(dim=1, keepdim=True)
    return TableBias(below.exp(), bias.window_size).dense(torch.bfloat16), -below.min().item()


def _attend(query: Tensor, key: Tensor, value: Tensor, factors: Tensor) -> Tensor:
    """Weight and sum; ``value`` has ones beside it (padded to its width), whose sum normalises the rest."""
    channels = value.shape[-1]
    columns = torch.cat((value, torch.ones_like(value)), dim=-1).transpose(-2, -1).contiguous()
    sums = value.new_empty(*value.shape[:-1], 2 * channels)
    product = torch.ops.mkldnn._linear_pointwise
    for head in range(query.shape[1]):  # outside: its factors stay in the cache for all windows
        for window in range(query.shape[0]):
            weights = product(query[window, head], key[window, head], None, "sigmoid", [], "")
            weights.mul_(factors[head])
            sums[window, head] = product(weights, columns[window, head], None, "none", [], "")
    return sums[..., :channels] / sums[..., channels:]
