"""Attention with the bias in additional channels of query and key, for kernels that take no bias.

With q' = [q / sqrt(c), query factors] and k' = [k, key factors], the products of q' and k' are the biased
scores. A bias that was learned as factors stays exact. A table is approximated by factors of low rank.

Source: FlashBias (arXiv 2505.12044), section 3. Subtracting the mean of each query is our own addition.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.networks.attention.position_bias import FactorBias, TableBias

Kernel = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Attention without bias and without scale, (B, heads, tokens, channels): softmax(q k^T) v."""

_CHANNEL_MULTIPLE = 8
"""Flash kernels load heads in groups of 8 channels."""

_OVERSAMPLING, _POWER_ITERATIONS = 8, 4
"""Parameters of the randomized decomposition. Its error is measured afterwards, not assumed."""


def fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Compute attention without bias and without scale, with torch's fused kernel for the device."""
    return F.scaled_dot_product_attention(query, key, value, scale=1.0)


def attend_with_factors(
    query: Tensor, key: Tensor, value: Tensor, bias: FactorBias, kernel: Kernel = fused
) -> Tensor:
    """Compute attention as with the dense bias, up to rounding, without making the dense bias.

    Args:
        query: (B, heads, tokens, channels).
        key: Same shape as ``query``.
        value: Same shape as ``query``.
        bias: Factors of the bias, which are rounded to the dtype of ``query``.
        kernel: Function that computes the attention.

    Returns:
        The attention's result, in the shape of ``query``.
    """
    channels = query.shape[-1]
    wide_query = _widen(query * channels**-0.5, bias.query_factors)
    wide_key = _widen(key, bias.key_factors)
    # Torch's flash kernels require query, key and value to have the same width.
    wide_value = F.pad(value, (0, wide_key.shape[-1] - channels))
    return kernel(wide_query, wide_key, wide_value)[..., :channels]


def factorise(bias: TableBias, rank: int) -> FactorBias:
    """Approximate a table, minus the mean of each query, by factors of a given rank.

    Softmax ignores any value that is added to all keys of a query, so the mean need not be represented. The
    heads are decomposed one after the other because ESC-XL's dense bias is 255 MB per block.
    """
    heads = [_low_rank(bias.dense_of_head(head).float(), rank) for head in range(len(bias.table))]
    return FactorBias(torch.stack([query for query, _ in heads]), torch.stack([key for _, key in heads]))


def score_error(bias: TableBias, factors: FactorBias) -> float:
    """Return the error of factors with respect to a table: the RMS error of the scores in the worst head."""
    products = zip(factors.query_factors, factors.key_factors, strict=True)
    errors = [
        _centred(bias.dense_of_head(head).float() - query @ key.T).square().mean()
        for head, (query, key) in enumerate(products)
    ]
    return torch.stack(errors).max().sqrt().item()


def _low_rank(dense: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Decompose one head's bias (queries, keys) into factors (queries, rank) and (keys, rank)."""
    devices = [dense.device] if dense.device.type == "cuda" else []
    with torch.random.fork_rng(devices):  # makes the factors reproducible and leaves the global state alone
        torch.manual_seed(0)
        width = min(rank + _OVERSAMPLING, *dense.shape)
        left, values, right = torch.svd_lowrank(_centred(dense), q=width, niter=_POWER_ITERATIONS)
    roots = values[:rank].sqrt()
    return left[:, :rank] * roots, right[:, :rank] * roots


def _centred(scores: Tensor) -> Tensor:
    return scores - scores.mean(dim=-1, keepdim=True)


def _widen(tokens: Tensor, factors: Tensor) -> Tensor:
    """Append factors (heads, tokens, rank) to (B, heads, tokens, channels), and zeros to fill a group."""
    padding = -(tokens.shape[-1] + factors.shape[-1]) % _CHANNEL_MULTIPLE
    padded = F.pad(factors, (0, padding)).to(tokens.dtype)
    return torch.cat((tokens, padded.expand(len(tokens), -1, -1, -1)), dim=-1)
