"""Attention in bfloat16 on the CPU, window after window, by oneDNN's fused matrix products.

Torch's own CPU kernel spends as long in bfloat16 as in float32: its products are faster, its exponentials
are not. Here they are made by the epilogue of the product, which has no exponential but the logistic
function: 1 / (1 + e^-x) is e^x up to a relative e^x, which below -7 is less than bfloat16 tells apart. All
scores are pushed below that by a bound on them, an amount that cancels when the weights are normalised. The
bias is a factor e^b of the weights, kept in place of itself.
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
    # Contiguous: oneDNN takes hundreds of times as long for rows that lie apart.
    key, scaled = key.contiguous(), (query * query.shape[-1] ** -0.5).contiguous()
    bound = _longest(scaled) * _longest(key)
    if 2 * bound + spread + _DEPTH > _DEEPEST:
        return sdpa(query, key, value, bias)
    push = query.new_full((key.shape[2],), -bound - _DEPTH)
    return _attend(scaled, key, value, push, factors)


def _suits(query: Tensor) -> bool:
    on_cpu = query.device.type == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    return on_cpu and query.dtype == torch.bfloat16 and not torch.is_grad_enabled()


def _factors(bias: TableBias) -> tuple[Tensor, float]:
    """Give e^(b - the head's largest b), (heads, queries, keys), bfloat16, and how far biases lie apart."""
    table = bias.table.float()
    below = table - table.amax(dim=1, keepdim=True)
    return TableBias(below.exp(), bias.window_size).dense(torch.bfloat16), -below.min().item()


def _longest(tokens: Tensor) -> float:
    """Give the norm of the longest of the vectors (..., channels)."""
    return float(torch.linalg.vector_norm(tokens, dim=-1).max())


def _attend(query: Tensor, key: Tensor, value: Tensor, push: Tensor, factors: Tensor) -> Tensor:
    """Weight and sum; ``value`` has ones beside it (padded to its width), whose sum normalises the rest."""
    channels = value.shape[-1]
    columns = value.new_ones(*value.shape[:-1], 2 * channels)
    columns[..., :channels] = value
    sums = torch.empty_like(columns)
    product = torch.ops.mkldnn._linear_pointwise.default
    for head, its_factors in enumerate(factors):  # outside: its factors stay in the cache for all windows
        windows = (one[:, head] for one in (query, key, columns, sums))
        for its_query, its_key, its_columns, its_sums in zip(*windows, strict=True):
            weights = product(its_query, its_key, push, "sigmoid", [], "")
            torch.mm(weights.mul_(its_factors), its_columns, out=its_sums)
    return sums[..., :channels] / sums[..., channels:]
