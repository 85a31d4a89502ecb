"""The exponentials of attention in bfloat16 on the CPU, computed by oneDNN's fused matrix products.

Torch's own CPU kernel takes as long in bfloat16 as in float32, because its products are faster but its
exponentials are not. Here the epilogue of the product computes the exponentials. The epilogue offers the
logistic function instead of the exponential: 1 / (1 + e^-x) equals e^x up to a relative error of e^x, which
for x below -7 is less than the precision of bfloat16. An upper bound of the scores is used to shift all
scores below -7. The shift cancels when the weights are normalized. The bias b becomes a factor e^b of the
weights, and this factor is stored instead of the bias.

All tensors here are contiguous, because oneDNN takes hundreds of times as long for rows that are apart in
memory.
"""

import math
from typing import Any

import torch
from torch import Tensor

from esc_cli.networks.attention.position_bias import TableBias

_DEPTH = 7.0
"""Shifted scores are at most minus this value: e^-7 is half of bfloat16's rounding, 2^-9."""

_SUMMED_WINDOWS = 4
"""Number of windows whose gradients are added in bfloat16, before they are added in float32."""

_DEEPEST = 80.0
"""Shifted scores below minus this value would make weights that are too small to tell apart."""


def are_available(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether this module can compute the exponentials on a device, for queries of this type."""
    if device.type != "cpu" or dtype != torch.bfloat16:
        return False
    fused = torch.ops.mkldnn
    return hasattr(fused, "_linear_pointwise") and bool(fused._is_mkldnn_bf16_supported())


def factors_of(table: Tensor) -> Tensor:
    """Return e^(b - the head's largest b) for all biases b, (heads, positions), float32."""
    wide = table.float()
    return (wide - wide.amax(dim=1, keepdim=True)).exp()


def push_of(query: Tensor, key: Tensor, least_factor: float) -> Tensor | None:
    """Return the shift to add to the scores of each head in each window, so that none is above -7.

    Args:
        query: (B, heads, tokens, channels), scaled.
        key: Same shape as ``query``.
        least_factor: The smallest factor of the biases.

    Returns:
        (B, heads, keys), with one value for all keys of a head; None if the scores may be too far apart.
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
    """Compute the weighted sums of the values.

    Args:
        query: (B, heads, tokens, channels), scaled.
        key: Same shape as ``query``.
        value: Same shape as ``query``.
        push: The shift that ``push_of`` returns.
        factors: Factors of the biases, (heads, queries, keys).
        kept: Filled with the weights before normalization, (queries, keys), by (window, head).

    Returns:
        The attention's result, in the shape of ``query``, and the sums by which the weights were divided,
        (..., 1).
    """
    channels = value.shape[-1]
    columns = beside_ones(value, channels)  # the product is as fast with twice the width as with one more
    sums = torch.empty_like(columns)
    for head, its_factors in enumerate(factors):  # outer loop: its factors stay in the CPU's cache
        for window in range(len(query)):
            at = (window, head)
            weights = exponentials(query[at], key[at], push[at], its_factors)
            torch.mm(weights, columns[at], out=sums[at])
            if kept is not None:
                kept[at] = weights
    return sums[..., :channels] / sums[..., channels:], sums[..., channels : channels + 1]


def exponentials(query: Tensor, key: Tensor, push: Tensor, factors: Tensor) -> Tensor:
    """Compute the weights of one head in one window before normalization.

    Args:
        query: (tokens, channels), scaled.
        key: (tokens, channels).
        push: The shift of the scores, (keys).
        factors: Factors of the biases, (queries, keys).

    Returns:
        (queries, keys).
    """
    weights: Tensor = torch.ops.mkldnn._linear_pointwise.default(query, key, push, "sigmoid", [], "")
    return weights.mul_(factors)


def beside_ones(value: Tensor, ones: int) -> Tensor:
    """Append ``ones`` channels of ones to (..., channels). Multiplying a matrix by the ones sums its rows."""
    channels = value.shape[-1]
    columns = value.new_ones(*value.shape[:-1], channels + ones)
    columns[..., :channels] = value
    return columns


def _longest(tokens: Tensor) -> Tensor:
    """Return the norm of the longest vector of (..., tokens, channels)."""
    lengths: Tensor = torch.linalg.vector_norm(tokens, dim=-1)
    return lengths.amax(dim=-1)


def blocked_with_gradients(query: Tensor, key: Tensor, value: Tensor, bias: TableBias) -> Tensor | None:
    """Compute attention as ``blocked`` does, with gradients for all inputs.

    A training step of ESC-light on one core takes 0.83 of the time that it takes with
    ``recomputed_attention``, and the errors of the gradients are a quarter smaller.

    Returns:
        The attention's result, or None if this method cannot compute it: the scores may be too far apart, the
        dtype is not bfloat16, or the processor does not have the instructions.
    """
    if not are_available(query.device, query.dtype):
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
    """Uses keys and values in reverse order, so that the factors of the biases need not be reversed."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, table: Tensor, window_size: int, push: Tensor
    ) -> Tensor:
        query, key, value = query.contiguous(), _backwards(key), _backwards(value)
        factors = _pairs_backwards(factors_of(table).to(query.dtype), window_size)
        # The weights take 8 MB for 4 heads in a 32x32 window. Recomputing them in the backward pass took a
        # tenth of a training step of ESC x4 (870 ms against 785, medians of alternating runs, one core).
        ctx.weights = {}
        output, sums = attend(query, key, value, push, factors, kept=ctx.weights)
        ctx.save_for_backward(query, key, value, output, sums.contiguous())
        ctx.window_size = window_size
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of all inputs.

        Source: FlashAttention (arXiv 2205.14135), appendix B.2: dS = P * (dP - rowsum(dO * O)).
        """
        query, key, value, output, sums = ctx.saved_tensors
        # The gradient is divided by the sums instead of the weights: P dO = e^S (dO / sums).
        grad = (gradients[0] / sums).contiguous()
        row_sums = (grad.float() * output).sum(dim=-1, keepdim=True).to(grad.dtype)
        grad_beside, value_beside = torch.cat((grad, -row_sums), dim=-1), beside_ones(value, 1)
        upright_grad, upright_query = (one.transpose(2, 3).contiguous() for one in (grad, query))
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.empty_like(upright_query), torch.empty_like(upright_grad)
        (windows, heads), w = query.shape[:2], ctx.window_size
        fused_product = torch.ops.mkldnn._linear_pointwise.binary
        grad_table = []
        for head in range(heads):
            by_row = query.new_zeros(w, 2 * w - 1, w, dtype=torch.float32)
            total: Tensor | None = None
            for window in range(windows):
                at = (window, head)
                weights = ctx.weights[at]
                torch.mm(upright_grad[at], weights, out=grad_value[at])
                grad_scores = fused_product(grad_beside[at], weights, value_beside[at], None, "mul")
                torch.mm(grad_scores, key[at], out=grad_query[at])
                torch.mm(upright_query[at], grad_scores, out=grad_key[at])
                total = grad_scores if total is None else total.add_(grad_scores)
                if (window + 1) % _SUMMED_WINDOWS == 0 or window + 1 == windows:
                    _add_by_row(by_row, total)
                    total = None
            grad_table.append(_table_of_rows(by_row))
        grad_key, grad_value = (one.transpose(2, 3).flip(2) for one in (grad_key, grad_value))
        return grad_query, grad_key, grad_value, torch.stack(grad_table), None, None


def _backwards(tokens: Tensor) -> Tensor:
    return tokens.contiguous().flip(2)


def _pairs_backwards(table: Tensor, window_size: int) -> Tensor:
    """Expand (heads, (2 w - 1)^2) to all pairs, (heads, queries, keys), with the last key first."""
    side = 2 * window_size - 1
    grid = table.view(-1, side, side).flip(1, 2)
    pairs = grid.unfold(1, window_size, 1).unfold(2, window_size, 1)
    return pairs.reshape(-1, window_size**2, window_size**2)


def _add_by_row(by_row: Tensor, pairs: Tensor) -> None:
    """Add (queries, keys), with the last key first, to (query columns, rows of the table, key columns).

    A pair's row in the table is the row of the query plus the reversed row of the key, and so is its column.
    """
    w = len(by_row)
    for row, of_row in enumerate(pairs.view(w, w, w, w)):
        by_row[:, row : row + w] += of_row


def _table_of_rows(by_row: Tensor) -> Tensor:
    """Sum what ``_add_by_row`` returned by the columns of the table, ((2 w - 1)^2)."""
    w, side = by_row.shape[:2]
    table = by_row.new_zeros(side, side)
    for column, of_column in enumerate(by_row):
        table[:, column : column + w] += of_column
    return table.flip(0, 1).flatten()
