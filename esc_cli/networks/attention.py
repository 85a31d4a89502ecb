"""Self-attention inside square windows, with a learned bias for each relative position.

Backends share one interface (``AttentionBackend``) and give the same result; they differ in speed and memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.padding import pad_to_multiple
from esc_cli.networks.recomputed_attention import recomputed_attention

AttentionBackend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
"""query, key, value (B, heads, tokens, channels), bias (heads, tokens, tokens): to the shape of query."""

LARGEST_CACHED_BIAS_BYTES = 64 * 2**20
"""ESC's dense bias is 16 MB a block in float32 and kept; ESC-XL's is 255 MB and gathered for each call."""


def dense_bias(table: Tensor, window_size: int) -> Tensor:
    """Spread a table of relative positions over all pairs of tokens of a window.

    Args:
        table: (heads, (2 w - 1)^2); row-major over (key row - query row, key column - query column), each
            from -(w - 1) to w - 1. That is key minus query: transposed with respect to Swin.
        window_size: w, pixels.

    Returns:
        (heads, w^2 queries, w^2 keys), differentiable.

    Source: ESC (arXiv 2503.06671), its published code.
    """
    w = window_size
    grid = table.view(-1, 2 * w - 1, 2 * w - 1)
    # pairs[head, i, j, a, b] = grid[head, i + a, j + b]; with i = w - 1 - query row this is key minus query.
    pairs = grid.unfold(1, w, 1).unfold(2, w, 1).flip(1, 2)
    return pairs.reshape(-1, w * w, w * w)


def naive(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Compute attention as it is written in the paper: the reference for every other backend."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias
    weights: Tensor = scores.softmax(dim=-1)
    return weights @ value


def sdpa(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Compute attention with torch's fused kernel.

    Where the bias needs a gradient on the CPU torch has no fused kernel and keeps all scores; there the
    backward pass recomputes them window by window.
    """
    if bias.requires_grad and torch.is_grad_enabled() and query.device.type == "cpu":
        return recomputed_attention(query, key, value, bias)
    # The CPU's flash kernel takes masks of 2 or 4 dimensions and of the query's dtype.
    mask = bias.to(query.dtype)[None]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)


ATTENTION_BACKENDS: dict[str, AttentionBackend] = {"naive": naive, "sdpa": sdpa}


class WindowAttention(nn.Module):
    """Multi-head self-attention in windows of ``window_size`` pixels, without shift and without mask.

    Input and output are (N, dim, H, W). Sides that are no multiple of the window are padded by reflection at
    the right and the bottom, and cropped after; padded tokens are attended to, as in the published code.
    """

    def __init__(self, dim: int, heads: int, window_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.window_size = window_size
        self.backend: AttentionBackend = sdpa
        self.relative_position_bias = nn.Parameter(torch.randn(heads, (2 * window_size - 1) ** 2).mul(0.001))
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.to_out = nn.Conv2d(dim, dim, 1)
        self._cached_bias: tuple[tuple[int, int, torch.dtype], Tensor] | None = None

    def forward(self, features: Tensor) -> Tensor:  # (N, dim, H, W)
        """Attend inside each window."""
        height, width = features.shape[-2:]
        qkv = self.to_qkv(pad_to_multiple(features, self.window_size))  # (N, 3 dim, H', W')
        query, key, value = self._to_windows(qkv)
        attended = self.backend(query, key, value, self._bias(query.dtype))  # (B, heads, tokens, channels)
        merged = self._from_windows(attended, qkv.shape)  # (N, dim, H', W')
        return self.to_out(merged[..., :height, :width])  # type: ignore[no-any-return]

    def _to_windows(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cut (N, 3 dim, H, W) into three of (windows, heads, tokens, channels), windows row-major."""
        n, channels, height, width = qkv.shape
        w, heads = self.window_size, self.heads
        cut = qkv.view(n, 3, heads, channels // (3 * heads), height // w, w, width // w, w)
        tokens = cut.permute(1, 0, 4, 6, 2, 5, 7, 3).reshape(3, -1, heads, w * w, channels // (3 * heads))
        return tokens[0], tokens[1], tokens[2]

    def _from_windows(self, windows: Tensor, shape: torch.Size) -> Tensor:
        n, channels, height, width = shape
        w, dim = self.window_size, channels // 3
        grid = windows.view(n, height // w, width // w, self.heads, w, w, dim // self.heads)
        return grid.permute(0, 3, 6, 1, 4, 2, 5).reshape(n, dim, height, width)

    def _bias(self, dtype: torch.dtype) -> Tensor:
        """Gather the dense bias; once for as long as the table stays as it is, unless it is being trained."""
        table = self.relative_position_bias
        if torch.is_grad_enabled() and table.requires_grad:
            return dense_bias(table, self.window_size)
        key = (table.data_ptr(), table._version, dtype)
        if self._cached_bias is not None and self._cached_bias[0] == key:
            return self._cached_bias[1]
        bias = dense_bias(table.detach().to(dtype), self.window_size)
        fits = bias.numel() * bias.element_size() <= LARGEST_CACHED_BIAS_BYTES
        self._cached_bias = (key, bias) if fits else None
        return bias


def use_attention(network: nn.Module, name: str) -> None:
    """Make every window attention of a network use the backend called ``name``.

    Raises:
        KeyError: There is no such backend in ``ATTENTION_BACKENDS``.
    """
    backend = ATTENTION_BACKENDS[name]
    for module in network.modules():
        if isinstance(module, WindowAttention):
            module.backend = backend
