"""ESC-RIB: ESC with larger windows, a bias made from coordinates, and gated attention."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.architectures.base import Architecture, State
from esc_cli.networks.architectures.esc import ESC, ESCConfig
from esc_cli.networks.architectures.tensors import (
    COORDINATES,
    block_widths,
    has_inner_norm,
    kernel_widths,
    pixel_shuffle_scale,
)
from esc_cli.networks.attention.position_bias import FactorBias
from esc_cli.networks.attention.windows import WindowAttentionBase
from esc_cli.networks.blocks import Block, ChannelNorm
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.runner import FeatureMap, Runner

GATE_REACH_PX = 1


@dataclass(frozen=True)
class ESCRIBConfig(ESCConfig):
    """Widths of ESC-RIB, as in ``ESCConfig``; the defaults are the published network.

    Attributes:
        bias_rank: Channels of the factors of each head.
        bias_hidden_dim: Hidden channels of the network that makes them from coordinates.
        frequencies: Sines and cosines that a coordinate is spread into, of 1, 2, 4, ... radians.
    """

    window_size: int = 64
    first_hidden_dim: int = 256
    bias_rank: int = 16
    bias_hidden_dim: int = 32
    frequencies: int = 10
    learned_factors: ClassVar[bool] = True

    @property
    def pooled_channels(self) -> int:
        """Channels that a strip's neighbours wait for: all that was attended, before the gate."""
        return self.dim


class CoordinateWindowAttention(WindowAttentionBase):
    """Window attention whose bias is a product of what a small network makes of the coordinates.

    ``gate`` is applied to the attended features before the last projection. It sees a neighbourhood across
    windows, so that the block runs it as a step of its own.
    """

    def __init__(self, config: ESCRIBConfig) -> None:
        super().__init__(config.dim, config.heads, config.window_size)
        self.frequencies = config.frequencies
        hidden_dim, rank = config.bias_hidden_dim, config.bias_rank
        self.to_hidden = _small_normal(2 + 4 * config.frequencies, hidden_dim)
        self.hidden_b = nn.Parameter(torch.zeros(1, hidden_dim))
        self.to_q = _small_normal(config.heads, hidden_dim, rank)
        self.to_k = _small_normal(config.heads, hidden_dim, rank)
        self.gate = nn.Sequential(
            Convolution(config.dim, config.dim, 3, padding=1, groups=config.dim),
            Convolution(config.dim, config.dim, 1),
            nn.Sigmoid(),
        )

    def position_bias(self) -> FactorBias:
        """Make the factors of all tokens: cheap, next to what attention does with them."""
        # Whatever the network's dtype: the fastest sine turns by 512 radians over a window.
        inputs = spread_coordinates(self.window_size, self.frequencies, self.to_hidden.device)
        hidden = F.relu(inputs @ self.to_hidden.float() + self.hidden_b.float())  # (w^2, hidden)
        scale = self.to_q.shape[-1] ** -0.5
        return FactorBias(hidden @ self.to_q.float() * scale, hidden @ self.to_k.float())

    def forward(self, features: Tensor) -> Tensor:
        """Attend inside each window of (N, dim, H, W), and gate."""
        return self.leave(self.attend(features), features)

    def leave(self, attended: Tensor, features: Tensor) -> Tensor:
        """Gate what was attended by the features that it was made from, and project, (N, dim, H, W)."""
        return self.to_out(attended * self.gate(features))  # type: ignore[no-any-return]


def spread_coordinates(window_size: int, frequencies: int, device: torch.device) -> Tensor:
    """Give the centres of a window's pixels in (-1, 1), column first, and their sines and cosines.

    Returns:
        (w^2, 2 + 4 frequencies), float32: for each frequency the two sines, then the two cosines.
    """
    centres = (2 * torch.arange(window_size, device=device) + 1) / window_size - 1
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack((columns.flatten(), rows.flatten()), dim=-1)  # (w^2, 2)
    waves = [wave(places * 2**power) for power in range(frequencies) for wave in (torch.sin, torch.cos)]
    return torch.cat((places, *waves), dim=-1)


class GatedBlock(Block):
    """ESC's block once its ``attn`` is a ``CoordinateWindowAttention``, whose gate is a step of its own."""

    attn: CoordinateWindowAttention  # type: ignore[assignment]

    def _run_attention(self, inner: FeatureMap, run: Runner) -> FeatureMap:
        attended = run.local(self._attend_only, inner, reach_px=0, align_px=self.attn.window_size)
        return run.local(self._gate, inner, attended, reach_px=GATE_REACH_PX, replaces=inner)

    def _attend_only(self, inner: Tensor) -> Tensor:
        return self.attn.attend(self.ln_attn(inner))

    def _gate(self, inner: Tensor, attended: Tensor) -> Tensor:
        return inner + self.attn.leave(attended, self.ln_attn(inner))


class ESCRIB(ESC):
    """ESC with gated blocks, and a normalisation before the last convolution. Parameter names as published.

    Source: arXiv 2603.06738, and its published code.
    """

    block_class = GatedBlock

    def __init__(self, config: ESCRIBConfig) -> None:
        super().__init__(config)
        for block in self.blocks:
            block.attn = CoordinateWindowAttention(config)
        self.last = nn.Sequential(ChannelNorm(config.dim), self.last)  # type: ignore[assignment]
        self.upsampler = nn.ModuleDict({"up_conv": self.to_img})
        del self.to_img

    def _to_residual(self, features: Tensor) -> Tensor:
        return self.upsampler["up_conv"](features)  # type: ignore[no-any-return]


def _small_normal(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape).mul(0.05))


def _recognise(state: State) -> ESCRIBConfig | None:
    """Know ESC-RIB by the bias from coordinates; its window shows in no tensor: it is the published one."""
    if COORDINATES not in state:
        return None
    heads, bias_hidden_dim, bias_rank = state["blocks.0.attn.to_q"].shape
    return ESCRIBConfig(
        scale=pixel_shuffle_scale(state["upsampler.up_conv.weight"]),
        heads=heads,
        inner_norm=has_inner_norm(state),
        bias_rank=bias_rank,
        bias_hidden_dim=bias_hidden_dim,
        frequencies=(state[COORDINATES].shape[0] - 2) // 4,
        **block_widths(state) | kernel_widths(state["plk_filter"]),
    )


ARCHITECTURE = Architecture(ESCRIBConfig, ESCRIB, _recognise, {"esc-rib": ESCRIBConfig})
"""Source: arXiv 2603.06738, and its published code."""
