"""Attention with torch's fused kernels, exact for every kind of bias."""

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.networks.attention.factorised import attend_with_factors
from esc_cli.networks.attention.logistic_weights import blocked_with_gradients
from esc_cli.networks.attention.position_bias import FactorBias, PositionBias, TableBias
from esc_cli.networks.attention.recomputed import recomputed_attention

CACHED_BIAS_BYTES = 2**20
"""Size of a head's bias for the queries that are processed together: the usual size of a core's own cache."""

LEAST_QUERIES = 192
"""Smallest number of queries that are processed together. With fewer, torch's kernel takes smaller steps."""


def sdpa(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention with torch's fused kernel.

    Torch has no fused kernel for a table that needs a gradient on the CPU, and would keep all scores. In that
    case our own backward pass recomputes the scores window by window. It cannot be compiled, so it is not
    used while torch is compiling.
    """
    if isinstance(bias, FactorBias):
        return attend_with_factors(query, key, value, bias)
    on_cpu, compiling = query.device.type == "cpu", torch.compiler.is_compiling()
    if isinstance(bias, TableBias) and bias.needs_gradient and on_cpu and not compiling:
        return _with_gradients(query, key, value, bias)
    if on_cpu:
        return _heads_first(query, key, value, bias.dense(query.dtype))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias.dense(query.dtype)[None])


def _with_gradients(query: Tensor, key: Tensor, value: Tensor, bias: TableBias) -> Tensor:
    attended = blocked_with_gradients(query, key, value, bias)
    if attended is None:
        wide = torch.promote_types(query.dtype, torch.float32)
        attended = recomputed_attention(query, key, value, bias.dense(wide))
    return attended


def _heads_first(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Compute attention head by head over all windows, for some of the queries at a time.

    Their part of a head's bias then stays in the cache of a core, which takes a fifth of the time. The CPU's
    flash kernel takes masks with 2 or 4 dimensions and in the dtype of the query. The result is stored as
    (B, tokens, heads, channels), so that its channels can be joined without a copy.
    """
    windows, heads, tokens, channels = query.shape
    result = query.new_empty(windows, tokens, heads, channels).permute(2, 0, 1, 3)
    query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
    for queries in _parts(tokens, bias.shape[2] * bias.dtype.itemsize):
        result[:, :, queries] = F.scaled_dot_product_attention(
            query[:, :, queries], key, value, attn_mask=bias[:, None, queries]
        )
    return result.transpose(0, 1)


def _parts(queries: int, bytes_a_query: int) -> list[slice]:
    """Cut the queries into parts whose bias fits in ``CACHED_BIAS_BYTES``, but not into very small parts."""
    size = max(LEAST_QUERIES, CACHED_BIAS_BYTES // bytes_a_query)
    return [slice(first, first + size) for first in range(0, queries, size)]
