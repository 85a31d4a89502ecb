"""Attention by torch's fused kernels, exact for every kind of bias."""

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.networks.attention.factorised import attend_with_factors
from esc_cli.networks.attention.logistic_weights import blocked_with_gradients
from esc_cli.networks.attention.position_bias import FactorBias, PositionBias, TableBias
from esc_cli.networks.attention.recomputed import recomputed_attention


def sdpa(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention with torch's fused kernel.

    Where a table needs a gradient on the CPU torch has no fused kernel and keeps all scores; there the
    backward pass recomputes them window by window, unless it is being compiled, which our own cannot be.
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
    """Attend head by head over all windows: a head's bias stays in the CPU's caches, for a tenth of the time.

    The CPU's flash kernel takes masks of 2 or 4 dimensions and of the query's dtype.
    """
    query, key, value = (tensor.transpose(0, 1) for tensor in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias[:, None]).transpose(0, 1)
