"""Self-attention inside square windows, with a learned bias for each pair of positions.

All backends return the same result, but ``flash`` and ``blocked`` are less exact. They differ in speed and
memory, and in the devices that they run on.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esc_cli.networks.attention.blocked import blocked
from esc_cli.networks.attention.flash import flash, has_flash_kernel
from esc_cli.networks.attention.flex import flex
from esc_cli.networks.attention.logistic_weights import are_available
from esc_cli.networks.attention.position_bias import BiasCache, FactorBias, PositionBias, TableBias
from esc_cli.networks.attention.sdpa import sdpa
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.padding import pad_to_multiple

AttentionFunction = Callable[[Tensor, Tensor, Tensor, PositionBias], Tensor]
"""Function of query, key and value, each (B, heads, tokens, channels), and of the bias.

It returns the attention's result, in the shape of query.
"""


@dataclass(frozen=True)
class AttentionBackend:
    """A way to compute attention.

    Attributes:
        attend: Function that computes it.
        can_run: Function of a device and of the features' type. It returns whether the backend is meant for
            them. Whether the device really can run it shows only when it is tried.
        needs: What the backend needs, for the message that refuses it: "half precision and a CUDA device".
        is_automatic: Whether ``auto`` tries the backend where it can run: it needs no compilation, and is
            meant to be fast.
        stores_scores: Whether the backend stores all scores, and makes a bias dense that was learned as
            factors. The estimate of memory counts both.
    """

    attend: AttentionFunction
    can_run: Callable[[torch.device, torch.dtype], bool] = lambda device, dtype: True
    needs: str = "nothing special"
    is_automatic: bool = False
    stores_scores: bool = False


def naive(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention as the published code does, making the bias in every call. This is the reference."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5 + bias.made_anew(query.dtype)
    weights: Tensor = scores.softmax(dim=-1)
    return weights @ value


ATTENTION_BACKENDS: dict[str, AttentionBackend] = {
    "naive": AttentionBackend(naive, stores_scores=True),
    "sdpa": AttentionBackend(sdpa, is_automatic=True),
    "flex": AttentionBackend(flex),
    "flash": AttentionBackend(flash, has_flash_kernel, "half precision and a CUDA device", is_automatic=True),
    "blocked": AttentionBackend(
        blocked, are_available, "bfloat16 and a CPU with instructions for it", is_automatic=True
    ),
}

AUTOMATIC = tuple(name for name, backend in ATTENTION_BACKENDS.items() if backend.is_automatic)
"""The backends among which ``auto`` chooses."""


class WindowAttentionBase(nn.Module):
    """Multi-head self-attention in windows of ``window_size`` pixels, without shift and without mask.

    Input and output are (N, dim, H, W). If a side is not a multiple of the window size, the input is padded
    by reflection at the right and at the bottom, and the result is cropped. Padded tokens are attended to, as
    in the published code. Subclasses hold the parameters of the bias.
    """

    def __init__(self, dim: int, heads: int, window_size: int) -> None:
        super().__init__()
        self.heads = heads
        self.window_size = window_size
        self.backend: AttentionFunction = sdpa
        self.to_qkv = Convolution(dim, 3 * dim, 1)
        self.to_out = Convolution(dim, dim, 1)

    def position_bias(self) -> PositionBias:
        """Return the bias in the form that the backends take."""
        raise NotImplementedError

    def forward(self, features: Tensor) -> Tensor:  # (N, dim, H, W)
        """Attend inside each window."""
        return self.to_out(self.attend(features))  # type: ignore[no-any-return]

    def attend(self, features: Tensor) -> Tensor:  # (N, dim, H, W)
        """Attend inside each window, without the last projection."""
        height, width = features.shape[-2:]
        padded = pad_to_multiple(features, self.window_size)  # (N, dim, H', W')
        query, key, value = self._project(self._to_windows(padded))
        attended = self.backend(query, key, value, self.position_bias())  # (B, heads, tokens, channels)
        tokens = attended.transpose(1, 2).flatten(2)  # (B, tokens, dim)
        return self._from_windows(tokens, padded.shape)[..., :height, :width]

    def _to_windows(self, features: Tensor) -> Tensor:
        """Cut (N, dim, H, W) into (windows, tokens, dim), with windows and tokens in row-major order.

        This is done before the projection because there is then a third as much data to move.
        """
        n, dim, height, width = features.shape
        w = self.window_size
        grid = features.permute(0, 2, 3, 1).reshape(n, height // w, w, width // w, w, dim)
        return grid.transpose(2, 3).reshape(-1, w * w, dim)

    def _project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute query, key and value, each (windows, heads, tokens, channels)."""
        qkv = self.to_qkv.of_pixels(tokens)
        split = qkv.view(*tokens.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return split[0], split[1], split[2]

    def _from_windows(self, tokens: Tensor, shape: torch.Size) -> Tensor:
        n, dim, height, width = shape
        w = self.window_size
        grid = tokens.view(n, height // w, width // w, w, w, dim).transpose(2, 3)
        return grid.reshape(n, height, width, dim).permute(0, 3, 1, 2)


class WindowAttention(WindowAttentionBase):
    """Window attention whose bias is a table of relative positions."""

    def __init__(self, dim: int, heads: int, window_size: int) -> None:
        super().__init__(dim, heads, window_size)
        self.relative_position_bias = nn.Parameter(torch.randn(heads, (2 * window_size - 1) ** 2).mul(0.001))
        self._cache = BiasCache()

    def position_bias(self) -> TableBias:
        """Return the table."""
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
        """Return the factors."""
        return FactorBias(self.flashbias_q, self.flashbias_k)


def use_attention(network: nn.Module, name: str) -> None:
    """Make every window attention of a network use the backend called ``name``.

    Raises:
        KeyError: There is no such backend in ``ATTENTION_BACKENDS``.
    """
    function = ATTENTION_BACKENDS[name].attend
    for layer in attention_layers(network).values():
        layer.backend = function


def attention_layers(network: nn.Module) -> dict[str, WindowAttentionBase]:
    """Return the window attention layers of a network by name, from the input to the output."""
    modules = network.named_modules()
    return {name: module for name, module in modules if isinstance(module, WindowAttentionBase)}


def dense_bias_bytes(network: nn.Module) -> int:
    """Return the size of all dense attention biases of a network together, in float32."""
    layers = attention_layers(network).values()
    return sum(layer.heads * layer.window_size**4 * torch.float32.itemsize for layer in layers)
