"""ESC-RIB: ESC with larger windows, an attention bias computed from coordinates, and gated attention."""

from collections.abc import Mapping
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
    """Widths of ESC-RIB, as in ``ESCConfig``. The defaults are those of the published network.

    Attributes:
        bias_rank: Channels of the factors of each head.
        bias_hidden_dim: Hidden channels of the network that computes the factors from coordinates.
        frequencies: Number of frequencies (1, 2, 4, ... radians) at which the sine and the cosine of a
            coordinate are computed.
    """

    window_size: int = 64
    first_hidden_dim: int = 256
    bias_rank: int = 16
    bias_hidden_dim: int = 32
    frequencies: int = 10
    least_widths: ClassVar[Mapping[str, int]] = {"frequencies": 0, "partial_dim": 2}
    learned_factors: ClassVar[bool] = True

    @property
    def pooled_channels(self) -> int:
        """Channels of the attended features before the gate. A run in strips holds them."""
        return self.dim


class CoordinateWindowAttention(WindowAttentionBase):
    """Window attention whose bias is a product of factors that a small network computes from coordinates.

    ``gate`` is applied to the attended features before the last projection. It reads neighboring pixels
    across windows, so the block runs it as a separate step.
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
        """Compute the factors of all tokens. This is cheap compared with the attention itself."""
        # These are float32 for any dtype of the network: the highest frequency reaches 512 radians.
        inputs = spread_coordinates(self.window_size, self.frequencies, self.to_hidden.device)
        hidden = F.relu(inputs @ self.to_hidden.float() + self.hidden_b.float())  # (w^2, hidden)
        scale = self.to_q.shape[-1] ** -0.5
        return FactorBias(hidden @ self.to_q.float() * scale, hidden @ self.to_k.float())

    def forward(self, features: Tensor) -> Tensor:
        """Attend inside each window of (N, dim, H, W), and apply the gate."""
        return self.leave(self.attend(features), features)

    def leave(self, attended: Tensor, features: Tensor) -> Tensor:
        """Gate the attended features by the features they were made from, and project, (N, dim, H, W)."""
        return self.to_out(attended * self.gate(features))  # type: ignore[no-any-return]


def spread_coordinates(window_size: int, frequencies: int, device: torch.device) -> Tensor:
    """Return the coordinates of a window's pixel centers in (-1, 1), and their sines and cosines.

    Returns:
        (w^2, 2 + 4 frequencies), float32: the column and the row, then for each frequency the two sines and
        the two cosines.
    """
    centres = (2 * torch.arange(window_size, device=device) + 1) / window_size - 1
    rows, columns = torch.meshgrid(centres, centres, indexing="ij")
    places = torch.stack((columns.flatten(), rows.flatten()), dim=-1)  # (w^2, 2)
    waves = [wave(places * 2**power) for power in range(frequencies) for wave in (torch.sin, torch.cos)]
    return torch.cat((places, *waves), dim=-1)


class GatedBlock(Block):
    """ESC's block with a ``CoordinateWindowAttention`` as ``attn``, whose gate is a separate step."""

    attn: CoordinateWindowAttention  # type: ignore[assignment]

    def _run_attention(self, inner: FeatureMap, run: Runner) -> FeatureMap:
        attended = run.local(self._attend_only, inner, reach_px=0, align_px=self.attn.window_size)
        return run.local(self._gate, inner, attended, reach_px=GATE_REACH_PX, replaces=inner)

    def _attend_only(self, inner: Tensor) -> Tensor:
        return self.attn.attend(self.ln_attn(inner))

    def _gate(self, inner: Tensor, attended: Tensor) -> Tensor:
        return inner + self.attn.leave(attended, self.ln_attn(inner))


class ESCRIB(ESC):
    """ESC with gated blocks and a normalization before the last convolution.

    Parameter names are the published ones.

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
    """Recognize ESC-RIB by its bias from coordinates.

    No tensor shows the window size, so the published one is assumed.
    """
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
