"""The exponentials of attention in bfloat16 on the CPU, made by oneDNN's fused matrix products.

Torch's own CPU kernel spends as long in bfloat16 as in float32: its products are faster, its exponentials
are not. Here they are made by the epilogue of the product, which has no exponential but the logistic
function: 1 / (1 + e^-x) is e^x up to a relative e^x, which below -7 is less than bfloat16 tells apart. All
scores are pushed below that by a bound on them, an amount that cancels when the weights are normalised. The
bias is a factor e^b of the weights, kept in place of itself.

Rows that lie apart in memory take oneDNN hundreds of times as long: tensors here are contiguous.
"""

import math

import torch
from torch import Tensor

_DEPTH = 7.0
"""Scores are at most minus this: e^-7 is half of bfloat16's rounding, 2^-9."""

_DEEPEST = 80.0
"""Scores below minus this would give weights too small to tell apart."""


def are_available(query: Tensor) -> bool:
    """Whether the exponentials of such queries can be made here."""
    if query.device.type != "cpu" or query.dtype != torch.bfloat16:
        return False
    fused = torch.ops.mkldnn
    return hasattr(fused, "_linear_pointwise") and bool(fused._is_mkldnn_bf16_supported())


def factors_of(table: Tensor) -> Tensor:
    """Give e^(b - the head's largest b) of biases, (heads, positions), float32."""
    wide = table.float()
    return (wide - wide.amax(dim=1, keepdim=True)).exp()


def push_of(query: Tensor, key: Tensor, least_factor: float) -> Tensor | None:
    """Find what to add to the scores of each window's heads, so that none is above -7.

    Args:
        query: (B, heads, tokens, channels), scaled.
        key: Of that shape.
        least_factor: Of the biases.

    Returns:
        (B, heads, keys), all keys of a head alike; None if scores may lie too far apart.
    """
    bound = _longest(query) * _longest(key)
    if not least_factor > 0 or 2 * float(bound.max()) - math.log(least_factor) + _DEPTH > _DEEPEST:
        return None
    return (-bound - _DEPTH)[..., None].expand(key.shape[:3]).contiguous()


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    push: Tensor,
    factors: Tensor,
    kept: dict[tuple[int, int], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """Weight the values, and sum them.

    Args:
        query: (B, heads, tokens, channels), scaled; ``key`` and ``value`` alike.
        key: As ``query``.
        value: As ``query``.
        push: As ``push_of`` gives it.
        factors: Of the biases, (heads, queries, keys).
        kept: Takes the weights before they are normalised, (queries, keys), by window and head.

    Returns:
        What was attended, of that shape, and the sums that the weights were divided by, (..., 1).
    """
    channels = value.shape[-1]
    columns = beside_ones(value, channels)  # of twice the width the product is as fast as of one more
    sums = torch.empty_like(columns)
    for head, its_factors in enumerate(factors):  # outside: its factors stay in the cache for all windows
        for window in range(len(query)):
            at = (window, head)
            weights = exponentials(query[at], key[at], push[at], its_factors)
            torch.mm(weights, columns[at], out=sums[at])
            if kept is not None:
                kept[at] = weights
    return sums[..., :channels] / sums[..., channels:], sums[..., channels : channels + 1]


def exponentials(query: Tensor, key: Tensor, push: Tensor, factors: Tensor) -> Tensor:
    """Compute the weights of one head in one window before they are normalised.

    Args:
        query: (tokens, channels), scaled.
        key: (tokens, channels).
        push: (keys).
        factors: Of the biases, (queries, keys).

    Returns:
        (queries, keys).
    """
    weights: Tensor = torch.ops.mkldnn._linear_pointwise.default(query, key, push, "sigmoid", [], "")
    return weights.mul_(factors)


def beside_ones(value: Tensor, ones: int) -> Tensor:
    """Put so many channels of ones beside (..., channels): a product with those sums the other's rows."""
    channels = value.shape[-1]
    columns = value.new_ones(*value.shape[:-1], channels + ones)
    columns[..., :channels] = value
    return columns


def _longest(tokens: Tensor) -> Tensor:
    """Give the norm of the longest of the vectors (..., tokens, channels)."""
    lengths: Tensor = torch.linalg.vector_norm(tokens, dim=-1)
    return lengths.amax(dim=-1)
