"""Attention in bfloat16 on the CPU, one head of one window at a time. See ``logistic_weights``."""

import torch
from torch import Tensor

from esc_cli.networks.attention.logistic_weights import are_available, attend, factors_of, push_of
from esc_cli.networks.attention.position_bias import LARGEST_CACHED_BYTES, PositionBias, TableBias
from esc_cli.networks.attention.sdpa import sdpa


def blocked(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention in bfloat16 on the CPU, and leave all other cases to ``sdpa``.

    The errors are twice those of torch's kernel, because the weights are also rounded before the bias is
    applied.
    """
    if not (
        are_available(query.device, query.dtype)
        and isinstance(bias, TableBias)
        and not torch.is_grad_enabled()
    ):
        return sdpa(query, key, value, bias)
    if bias.table.is_inference() or len(bias.table) * query.shape[2] ** 2 * 2 > LARGEST_CACHED_BYTES:
        return sdpa(query, key, value, bias)  # the factors cannot be cached
    factors, least = bias.cache.recall("factors of weights", bias.table, query.dtype, lambda: _factors(bias))
    key, scaled = key.contiguous(), (query * query.shape[-1] ** -0.5).contiguous()
    push = push_of(scaled, key, least)
    if push is None:
        return sdpa(query, key, value, bias)
    return attend(scaled, key, value, push, factors)[0]


def _factors(bias: TableBias) -> tuple[Tensor, float]:
    """Return the factors of all pairs, (heads, queries, keys), bfloat16, and the smallest factor."""
    factors = factors_of(bias.table)
    return TableBias(factors, bias.window_size).dense(torch.bfloat16), float(factors.min())
