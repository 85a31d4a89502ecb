"""The exponentials of attention in bfloat16 on the CPU, made by oneDNN's fused matrix products.

Torch's own CPU kernel spends as long in bfloat16 as in float32: its products are faster, its exponentials
are not. Here they are made by the epilogue of the product, which has no exponential but the logistic
function: 1 / (1 + e^-x) is e^x up to a relative e^x, which below -7 is less than bfloat16 tells apart. All
scores are pushed below that by a bound on them, an amount that cancels when the weights are normalised. The
bias is a factor e^b of the weights, kept in place of itself.

Rows that lie apart in memory take oneDNN hundreds of times as long: tensors here are contiguous.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.networks.attention.position_bias import TableBias

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


def blocked_with_gradients(query: Tensor, key: Tensor, value: Tensor, bias: TableBias) -> Tensor | None:
    """Attend as ``blocked`` does, with a gradient for all that goes in.

    A training step of ESC-light on one core takes 0.83 of the time that it does with
    ``recomputed_attention``, and the gradients' errors are a quarter smaller.

    Returns:
        None where this cannot be computed so: the scores may lie too far apart, it is not bfloat16, or the
        processor has no instructions for it.
    """
    if not are_available(query):
        return None
    scaled = query * query.shape[-1] ** -0.5
    push = push_of(scaled.detach(), key.detach(), float(factors_of(bias.table.detach()).min()))
    if push is None:
        return None
    result: Tensor = _BlockedAttention.apply(  # type: ignore[no-untyped-call]
        scaled, key, value, bias.table, bias.window_size, push
    )
    return result


class _BlockedAttention(torch.autograd.Function):
    """Keys and values go backwards, for which the factors of the biases need not be turned round."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, table: Tensor, window_size: int, push: Tensor
    ) -> Tensor:
        query, key, value = query.contiguous(), _backwards(key), _backwards(value)
        factors = _pairs_backwards(factors_of(table).to(query.dtype), window_size)
        # 8 MB for 4 heads in a window of 32x32. Making them again in the backward pass took a tenth of a
        # training step of ESC x4 (870 ms against 785, medians of runs in turns, one core).
        ctx.weights = {}
        output, sums = attend(query, key, value, push, factors, kept=ctx.weights)
        ctx.save_for_backward(query, key, value, output, sums.contiguous())
        ctx.window_size = window_size
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Source: FlashAttention (arXiv 2205.14135), appendix B.2: dS = P * (dP - rowsum(dO * O))."""
        query, key, value, output, sums = ctx.saved_tensors
        # What the weights are divided by goes into the gradient instead: P dO = e^S (dO / sums).
        grad = (gradients[0] / sums).contiguous()
        row_sums = (grad.float() * output).sum(dim=-1, keepdim=True).to(grad.dtype)
        grad_beside, value_beside = torch.cat((grad, -row_sums), dim=-1), beside_ones(value, 1)
        upright_grad, upright_query = (one.transpose(2, 3).contiguous() for one in (grad, query))
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.empty_like(upright_query), torch.empty_like(upright_grad)
        windows, heads, tokens, _ = query.shape
        grad_scores, wide = torch.empty(2, tokens, tokens)
        grad_table = []
        for head in range(heads):
            grad_scores.zero_()
            for window in range(windows):
                at = (window, head)
                weights = ctx.weights[at]
                torch.mm(upright_grad[at], weights, out=grad_value[at])
                grad_weights = F.linear(grad_beside[at], value_beside[at]).mul_(weights)
                torch.mm(grad_weights, key[at], out=grad_query[at])
                torch.mm(upright_query[at], grad_weights, out=grad_key[at])
                grad_scores.add_(wide.copy_(grad_weights))  # a copy of add_'s own would be new memory
            grad_table.append(_table_backwards(grad_scores, ctx.window_size))
        grad_key, grad_value = (one.transpose(2, 3).flip(2) for one in (grad_key, grad_value))
        return grad_query, grad_key, grad_value, torch.stack(grad_table), None, None


def _backwards(tokens: Tensor) -> Tensor:
    return tokens.contiguous().flip(2)


def _pairs_backwards(table: Tensor, window_size: int) -> Tensor:
    """Spread (heads, (2 w - 1)^2) over all pairs, (heads, queries, keys), the last key first."""
    side = 2 * window_size - 1
    grid = table.view(-1, side, side).flip(1, 2)
    pairs = grid.unfold(1, window_size, 1).unfold(2, window_size, 1)
    return pairs.reshape(-1, window_size**2, window_size**2)


def _table_backwards(pairs: Tensor, window_size: int) -> Tensor:
    """Add up (queries, keys), the last key first, by relative position: ((2 w - 1)^2)."""
    side = 2 * window_size - 1
    # Pairs are the same to the position of the query and to that of the key: these are columns of an image.
    return F.fold(pairs[None], (side, side), (window_size, window_size))[0, 0].flip(0, 1).flatten()
