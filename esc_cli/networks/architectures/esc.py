"""ESC: emulating self-attention with convolution (ICCV 2025); also ESC-light, ESC-XL and our ESC-tiny."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.architectures.base import Architecture, BlocksConfig, State
from esc_cli.networks.architectures.tensors import COORDINATES, FACTORS, esc_widths, pixel_shuffle_scale
from esc_cli.networks.blocks import Block, ConvolutionalBlock, PictureConvolution
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.mixers.attentive import AttentiveConvolution
from esc_cli.networks.mixers.base import Mixer
from esc_cli.networks.mixers.convolutional import (
    ConvolutionalAttention,
    StaticConvolutionalAttention,
    kernel_of_all_layers,
    orthogonal_kernel,
)
from esc_cli.networks.mixers.milk import MiLKConvolutionalAttention
from esc_cli.networks.mixers.window import WindowMixer
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

MixerName = Literal["convolutional", "static", "milk", "atconv", "window"]
"""Convolutional attention, convolutional attention without dynamic kernels, MiLK-ConvAttn, Attentive
Convolution, and window attention over the same channels."""


@dataclass(frozen=True)
class ESCConfig(BlocksConfig):
    """Widths of ESC. The defaults are those of the published ESC.

    The constructor raises ValueError for widths with which no network can be built or run.

    Attributes:
        scale: Output pixels per input pixel, along each axis.
        dim: Channels of the feature maps.
        partial_dim: Channels that the mixing layers mix.
        heads: Heads of the window attention, each of ``dim / heads`` channels. 0 means that there is no
            window attention, and that a block has one more mixing layer in its place.
        blocks: Number of blocks.
        mixers: Number of mixing layers in a block.
        kernel_size: Side of the large kernel, an odd number.
        window_size: Side of the attention windows, in pixels.
        first_hidden_dim: Hidden channels of the first feed-forward network of a block.
        hidden_dim: Hidden channels of the feed-forward networks in the mixing layers.
        inner_norm: Whether the mixing layers begin with a layer normalization.
        mixer: Kind of mixer in the mixing layers.
        shared_kernel: Whether the convolutional attentions, dynamic or static, share one large kernel. If
            not, each has its own.
    """

    scale: int
    dim: int = 64
    partial_dim: int = 16
    heads: int = 4
    blocks: int = 5
    mixers: int = 5
    kernel_size: int = 13
    window_size: int = 32
    first_hidden_dim: int = 128
    hidden_dim: int = 80
    inner_norm: bool = False
    mixer: MixerName = "convolutional"
    shared_kernel: bool = True
    least_widths: ClassVar[Mapping[str, int]] = {"heads": 0, "partial_dim": 2}  # a mixer halves it

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mixer == "window" and self.partial_dim % self.mixer_heads:
            raise ValueError(
                f"{self.partial_dim} channels cannot be divided among {self.mixer_heads} heads of a mixer"
            )

    @property
    def mixer_heads(self) -> int:
        """Heads of the mixer ``window``, each about as wide as a head of the window attention."""
        return max(1, self.partial_dim * self.heads // self.dim)


class ESC(nn.Module):
    """Maps low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Source: arXiv 2503.06671, and its published code.
    """

    block_class = Block

    def __init__(self, config: ESCConfig) -> None:
        super().__init__()
        self.config = config
        dim, size = config.partial_dim, config.kernel_size
        self.plk_filter = orthogonal_kernel(dim, size) if _shares_kernel(config) else None
        self.proj = PictureConvolution(3, config.dim, 3, padding=1)
        self.blocks = make_blocks(config, self.block_class)
        self.last = Convolution(config.dim, config.dim, 3, padding=1)
        self.to_img = Convolution(config.dim, 3 * config.scale**2, 3, padding=1)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], of any size from 1x1. float32 works with weights of any dtype.
            run: The runner of the network's steps.

        Returns:
            (N, 3, scale H, scale W), about [0, 1] but not clamped, in the wider dtype of ``low`` and the
            weights. The result is a tensor, unless the runner returns another kind of feature map.
        """
        shallow, features = self._run_blocks(low, run)
        return run.local(self._reconstruct, features, shallow, low, reach_px=2, keep=False)

    def _run_blocks(self, low: Tensor, run: Runner) -> tuple[FeatureMap, FeatureMap]:
        """Return the features before the blocks and after them, each (N, dim, H, W)."""
        shared = () if self.plk_filter is None else (kernel_of_all_layers(self.plk_filter),)
        shallow = run.local(self.proj, low, reach_px=1, keep=False)
        features = shallow
        for block in self.blocks:
            features = block(features, shared, run)
        return shallow, features

    def _reconstruct(self, features: Tensor, shallow: Tensor, low: Tensor) -> Tensor:
        residual = self._to_residual(self.last(features) + shallow)  # (N, 3 s^2, H, W)
        # The picture is repeated, not interpolated. This equals nearest-neighbor upscaling.
        repeated = low.repeat_interleave(self.config.scale**2, dim=1)
        return F.pixel_shuffle(residual + repeated, self.config.scale)

    def _to_residual(self, features: Tensor) -> Tensor:
        return self.to_img(features)  # type: ignore[no-any-return]


def make_blocks(config: ESCConfig, block_class: type[Block] = Block) -> nn.ModuleList:
    """Make the blocks of an ESC network, with the mixers that the configuration names."""
    make_block = block_class if config.heads else ConvolutionalBlock
    return nn.ModuleList(
        make_block(
            dim=config.dim,
            heads=config.heads,
            window_size=config.window_size,
            first_hidden_dim=config.first_hidden_dim,
            hidden_dim=config.hidden_dim,
            inner_norm=config.inner_norm,
            mixers=config.mixers,
            make_mixer=lambda: _make_mixer(config),
        )
        for _ in range(config.blocks)
    )


def _make_mixer(config: ESCConfig) -> Mixer:
    dim, size = config.partial_dim, config.kernel_size
    match config.mixer:
        case "milk":
            return MiLKConvolutionalAttention(dim, size)
        case "atconv":
            return AttentiveConvolution(dim, size)
        case "window":
            return WindowMixer(dim, config.mixer_heads, config.window_size)
        case "static":
            return StaticConvolutionalAttention(dim, size, own_kernel=not config.shared_kernel)
        case "convolutional":
            return ConvolutionalAttention(dim, size, own_kernel=not config.shared_kernel)


def _shares_kernel(config: ESCConfig) -> bool:
    return config.shared_kernel and config.mixer in ("convolutional", "static")


def _recognise(state: State) -> ESCConfig | None:
    """Recognize ESC by its head, which is one convolution, and by its bias, which is a table."""
    if "to_img.weight" not in state or "lk_spatial" in state or FACTORS in state or COORDINATES in state:
        return None
    return ESCConfig(scale=pixel_shuffle_scale(state["to_img.weight"]), **esc_widths(state))


def _light(scale: int) -> ESCConfig:
    return ESCConfig(scale, blocks=3)


def _tiny(scale: int) -> ESCConfig:
    """Return the widths that learned the most in equal time; see ``esc_cli/training/RECIPE.md``.

    Few layers with as many channels as ESC learned more than many narrow layers, and an additional block
    without window attention more than one block with it.
    """
    return ESCConfig(
        scale, heads=0, blocks=2, mixers=2, kernel_size=9, window_size=1, first_hidden_dim=64, hidden_dim=64
    )


def _xl(scale: int) -> ESCConfig:
    return ESCConfig(
        scale,
        dim=192,
        partial_dim=48,
        heads=12,
        blocks=8,
        window_size=48,
        first_hidden_dim=384,
        hidden_dim=240,
        inner_norm=True,
    )


ARCHITECTURE = Architecture(
    ESCConfig,
    ESC,
    _recognise,
    {
        "esc": ESCConfig,
        "esc-light": _light,
        # A small network of ours, for previews and old machines. It has not been published.
        "esc-tiny": _tiny,
        "esc-xl": _xl,
        # ESC with the mixers of other publications. No such networks have been published.
        "esc-milk": partial(ESCConfig, mixer="milk"),
        "esc-atconv": partial(ESCConfig, mixer="atconv", kernel_size=3),
    },
)
"""Source: arXiv 2503.06671, table 1, and its published code."""
