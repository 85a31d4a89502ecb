"""Self-attention inside square windows, with a learned bias for each pair of positions.

Backends share one interface (``AttentionBackend``) and give the same result; they differ in speed and memory,
and ``flash`` in exactness.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from esc_cli.networks.flash_attention import flash
from esc_cli.networks.flex_attention import flex
from esc_cli.networks.padding import pad_to_multiple
from esc_cli.networks.position_bias import BiasCache, FactorBias, PositionBias, TableBias
from esc_cli.networks.sdpa_attention import sdpa

AttentionBackend = Callable[[Tensor, Tensor, Tensor, PositionBias], Tensor]
"""query, key and value, each (B, heads, tokens, channels), and the bias: to the shape of query."""


def naive(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention as it is written in the paper: the reference for every other backend.

    The published code gathers the bias from its table in every call; here it is kept, so that this is a
    little faster than what it stands for.
    """
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias.dense(query.dtype)
    weights: Tensor = scores.softmax(dim=-1)
    return weights @ value


ATTENTION_BACKENDS: dict[str, AttentionBackend] = {"naive": naive, "sdpa": sdpa, "flex": flex, "flash": flash}


class WindowAttentionBase(nn.Module):
    """Multi-head self-attention in windows of ``window_size`` pixels, without shift and without mask.

    Input and output are (N, dim, H, W). Sides that are no multiple of the window are padded by reflection at
    the right and the bottom, and cropped after; padded tokens are attended to, as in the published code.
    Subclasses hold the parameters of the bias.
    """

    def __init__(self, dim: int, heads: int, window_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.window_size = window_size
        self.backend: AttentionBackend = sdpa
        self.to_qkv = nn.Conv2d(dim, 3 * dim, 1)
        self.to_out = nn.Conv2d(dim, dim, 1)

    def position_bias(self) -> PositionBias:
        """Give the bias as the backends take it."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:  # (N, dim, H, W)
        """Attend inside each window."""
        return self.to_out(self.attend(features))  # type: ignore[no-any-return]

    def attend(self, features: Tensor) -> Tensor:  # (N, dim, H, W)
        """Attend inside each window, up to the last projection."""
        height, width = features.shape[-2:]
        qkv = self.to_qkv(pad_to_multiple(features, self.window_size))  # (N, 3 dim, H', W')
        query, key, value = self._to_windows(qkv)
        attended = self.backend(query, key, value, self.position_bias())  # (B, heads, tokens, channels)
        merged = self._from_windows(attended, qkv.shape)  # (N, dim, H', W')
        return merged[..., :height, :width]

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


class WindowAttention(WindowAttentionBase):
    """Window attention whose bias is a table of relative positions."""

    def __init__(self, dim: int, heads: int, window_size: int) -> None:
        super().__init__(dim, heads, window_size)
        self.relative_position_bias = nn.Parameter(torch.randn(heads, (2 * window_size - 1) ** 2).mul(0.001))
        self._cache = BiasCache()

    def position_bias(self) -> TableBias:
        """Spread the table over all pairs."""
        return TableBias(self.relative_position_bias, self.window_size, self._cache)


class FactorWindowAttention(WindowAttentionBase):
    """Window attention whose bias is a product of free factors, one for each token of a window.

    Source: FlashBias (arXiv 2505.12044), and ESC's published code.
    """

    def __init__(self, dim: int, heads: int, window_size: int, rank: int) -> None:
        super().__init__(dim, heads, window_size)
        self.flashbias_q = nn.Parameter(torch.zeros(heads, window_size**2, rank))
        self.flashbias_k = nn.Parameter(torch.zeros(heads, window_size**2, rank))

    def position_bias(self) -> FactorBias:
        """Give the factors."""
        return FactorBias(self.flashbias_q, self.flashbias_k)


def use_attention(network: nn.Module, name: str) -> None:
    """Make every window attention of a network use the backend called ``name``.

    Raises:
        KeyError: There is no such backend in ``ATTENTION_BACKENDS``.
    """
    backend = ATTENTION_BACKENDS[name]
    for module in network.modules():
        if isinstance(module, WindowAttentionBase):
            module.backend = backend
