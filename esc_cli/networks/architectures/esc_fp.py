"""ESC-FP: ESC with fewer parameters, because its large kernel is decomposed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.architectures.base import Architecture, BlocksConfig, State
from esc_cli.networks.architectures.tensors import (
    block_widths,
    kernel_widths,
    pixel_shuffle_scale,
    table_widths,
)
from esc_cli.networks.blocks import Block, ChannelNorm, PictureConvolution
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.mixers.convolutional import DecomposedConvolutionalAttention
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

BICUBIC_REACH_PX = 2


@dataclass(frozen=True)
class ESCFPConfig(BlocksConfig):
    """Widths of ESC-FP, named as in ``ESCConfig``. The defaults are those of the published network."""

    scale: int
    dim: int = 48
    partial_dim: int = 16
    heads: int = 3
    blocks: int = 5
    mixers: int = 5
    kernel_size: int = 13
    window_size: int = 32
    first_hidden_dim: int = 72
    hidden_dim: int = 60
    least_widths: ClassVar[Mapping[str, int]] = {"partial_dim": 4}  # a mixer divides it by 4


class ESCFP(nn.Module):
    """Maps low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Unlike ESC, this network does not average the kernel over flips and rotations, and it adds its residual
    to the bicubic interpolation (a = -0.75, not antialiased) of the picture.

    Source: arXiv 2503.06671, and its published code.
    """

    def __init__(self, config: ESCFPConfig) -> None:
        super().__init__()
        self.config = config
        dim, partial_dim, size = config.dim, config.partial_dim, config.kernel_size
        self.lk_channel = nn.Parameter(nn.init.orthogonal_(torch.empty(partial_dim, partial_dim, 1, 1)))
        self.lk_spatial = nn.Parameter(nn.init.orthogonal_(torch.empty(partial_dim, 1, size, size)))
        self.proj = PictureConvolution(3, dim, 3, padding=1)
        self.blocks = nn.ModuleList(_make_block(config) for _ in range(config.blocks))
        self.ln_last = ChannelNorm(dim)
        self.last = Convolution(dim, dim, 3, padding=1)
        self.to_img = Convolution(dim, 3 * config.scale**2, 3, padding=1)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], of any size from 1x1. float32 works with weights of any dtype.
            run: The runner of the network's steps.

        Returns:
            (N, 3, scale H, scale W), about [0, 1] but not clamped, in the wider dtype of ``low`` and the
            weights. The result is a tensor, unless the runner returns another kind of feature map.
        """
        shared = (self.lk_channel, self.lk_spatial)
        shallow = run.local(self.proj, low, reach_px=1, keep=False)  # (N, dim, H, W)
        features = shallow
        for block in self.blocks:
            features = block(features, shared, run)
        return run.local(self._reconstruct, features, shallow, low, reach_px=BICUBIC_REACH_PX, keep=False)

    def _reconstruct(self, features: Tensor, shallow: Tensor, low: Tensor) -> Tensor:
        scale = self.config.scale
        residual = self.to_img(self.last(self.ln_last(features)) + shallow)  # (N, 3 s^2, H, W)
        interpolated = F.interpolate(low, scale_factor=scale, mode="bicubic", align_corners=False)
        return F.pixel_shuffle(residual, scale) + interpolated


def _make_block(config: ESCFPConfig) -> Block:
    return Block(
        dim=config.dim,
        heads=config.heads,
        window_size=config.window_size,
        first_hidden_dim=config.first_hidden_dim,
        hidden_dim=config.hidden_dim,
        inner_norm=True,
        mixers=config.mixers,
        make_mixer=lambda: DecomposedConvolutionalAttention(config.partial_dim, config.kernel_size),
    )


def _recognise(state: State) -> ESCFPConfig | None:
    """Recognize ESC-FP by its large kernel, which is decomposed."""
    if "lk_spatial" not in state:
        return None
    widths = block_widths(state) | kernel_widths(state["lk_spatial"]) | table_widths(state)
    return ESCFPConfig(scale=pixel_shuffle_scale(state["to_img.weight"]), **widths)


ARCHITECTURE = Architecture(ESCFPConfig, ESCFP, _recognise, {"esc-fp": ESCFPConfig})
