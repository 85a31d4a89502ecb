"""Attention with a trainable bias on the CPU, which does not save the scores for the backward pass.

Torch's fused CPU kernel has no gradient for a bias, and its plain path keeps several (tokens x tokens)
matrices for every window and head: with 32x32 windows, moving these took four fifths of a training step.
Here the forward pass uses the fused kernel. The backward pass recomputes the scores one window at a time, so
that they stay in the CPU's cache.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def recomputed_attention(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Compute ``torch.nn.functional.scaled_dot_product_attention``, with a gradient for the bias.

    Args:
        query: (B, heads, tokens, channels).
        key: Same shape as ``query``.
        value: Same shape as ``query``.
        bias: (heads, tokens, tokens), float32 or float64, added to the scaled scores.
    """
    result: Tensor = _RecomputedAttention.apply(query, key, value, bias)  # type: ignore[no-untyped-call]
    return result


class _RecomputedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        narrow = bias.to(query.dtype)
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=narrow[None])
        ctx.save_for_backward(query, key, value, narrow, output)
        ctx.bias_dtype = bias.dtype
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        query, key, value, bias, output = ctx.saved_tensors
        grads = [torch.empty_like(tensor) for tensor in (query, key, value)]
        grad_bias = torch.zeros(bias.shape, dtype=ctx.bias_dtype)
        for window in range(query.shape[0]):
            one = [tensor[window] for tensor in (query, key, value, output, gradients[0])]
            *grads_of_one, grad_scores = _backward_of_window(bias, *one)
            for grad, of_one in zip(grads, grads_of_one, strict=True):
                grad[window] = of_one
            grad_bias += grad_scores
        return grads[0], grads[1], grads[2], grad_bias


def _backward_of_window(
    bias: Tensor, query: Tensor, key: Tensor, value: Tensor, output: Tensor, grad_output: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of query, key, value and scores for one window, (heads, tokens, ...).

    Source: FlashAttention (arXiv 2205.14135), appendix B.2: dS = P * (dP - rowsum(dO * O)).
    """
    scale = query.shape[-1] ** -0.5
    scores = torch.baddbmm(bias, query, key.transpose(-2, -1), alpha=scale)
    weights = scores.softmax(dim=-1)
    grad_value = weights.transpose(-2, -1) @ grad_output
    row_sums = (grad_output * output).sum(dim=-1, keepdim=True)
    grad_scores = (grad_output @ value.transpose(-2, -1)).sub_(row_sums).mul_(weights)
    grad_query = (grad_scores @ key).mul_(scale)
    grad_key = (grad_scores.transpose(-2, -1) @ query).mul_(scale)
    return grad_query, grad_key, grad_value, grad_scores
