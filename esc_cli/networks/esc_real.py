"""ESC-Real: ESC for pictures from the wild, with a deeper body and a smoother head."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn

from esc_cli.networks.blocks import PictureConvolution
from esc_cli.networks.convolutional_attention import average_over_symmetries
from esc_cli.networks.dysample import DySample
from esc_cli.networks.esc import ESCConfig, make_blocks, new_large_kernel
from esc_cli.networks.padding import reflect_pad
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

NEAREST_HEAD_SCALE = 4
"""The nearest-neighbour head doubles twice, whatever else was asked for."""

SKIP_REACH_PX = 3


@dataclass(frozen=True)
class ESCRealConfig(ESCConfig):
    """Widths of ESC-Real, as in ``ESCConfig``; the defaults are the published network.

    Attributes:
        head: ``nearest`` (upsample and convolve, always x4) or ``dysample``.
    """

    blocks: int = 10
    hidden_dim: int = 128
    inner_norm: bool = True
    head: Literal["nearest", "dysample"] = "nearest"

    def __post_init__(self) -> None:
        if self.head == "nearest" and self.scale != NEAREST_HEAD_SCALE:
            raise ValueError(f"the nearest-neighbour head is always x{NEAREST_HEAD_SCALE}, not x{self.scale}")


class ESCReal(nn.Module):
    """Low-resolution RGB to high-resolution RGB. Parameter names are the published ones.

    Source: arXiv 2503.06671, and its published code.
    """

    def __init__(self, config: ESCRealConfig) -> None:
        super().__init__()
        self.config = config
        self.plk_filter = new_large_kernel(config)
        self.proj = PictureConvolution(3, config.dim, 3, padding=1)
        self.skip = _Skip(config.dim)
        self.blocks = make_blocks(config)
        self.last = nn.Conv2d(config.dim, config.dim, 3, padding=1)
        self.to_img = _make_head(config)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], any size from 1x1; float32 serves weights of any dtype.
            run: How the steps are run.

        Returns:
            (N, 3, scale H, scale W), about [0, 1], not clamped, of the wider dtype of low and weights. A
            tensor, unless the runner makes something else of it.
        """
        shared = (average_over_symmetries(self.plk_filter),)
        shallow = run.local(self.proj, low, reach_px=1, keep=False)  # (N, dim, H, W)
        features = shallow
        for block in self.blocks:
            features = block(features, shared, run)
        features = run.local(self._gather, features, shallow, low, reach_px=SKIP_REACH_PX, replaces=features)
        if self.config.head == "dysample":
            return run.unbounded(self.to_img, features)
        # Three 3x3 convolutions above the low resolution and one below reach less than 2 pixels.
        return run.local(self.to_img, features, reach_px=2, keep=False)

    def _gather(self, features: Tensor, shallow: Tensor, low: Tensor) -> Tensor:
        return self.last(features) + shallow + self.skip(low)  # type: ignore[no-any-return]


class _Skip(nn.Sequential):
    """The picture's own way to the head: pointwise, 7x7 depthwise (reflection), pointwise."""

    def __init__(self, dim: int) -> None:
        super().__init__(
            PictureConvolution(3, 2 * dim, 1),
            nn.Conv2d(2 * dim, 2 * dim, 2 * SKIP_REACH_PX + 1, groups=2 * dim),
            nn.LeakyReLU(0.2),
            nn.Conv2d(2 * dim, dim, 1),
        )

    def forward(self, low: Tensor) -> Tensor:
        first, depthwise, activation, last = self
        padded = reflect_pad(first(low), SKIP_REACH_PX, SKIP_REACH_PX, SKIP_REACH_PX, SKIP_REACH_PX)
        return last(activation(depthwise(padded)))  # type: ignore[no-any-return]


def _make_head(config: ESCRealConfig) -> nn.Module:
    dim = config.dim
    if config.head == "dysample":
        return DySample(dim, 3, config.scale)
    return nn.Sequential(
        nn.Upsample(scale_factor=2),
        nn.Conv2d(dim, dim, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Upsample(scale_factor=2),
        nn.Conv2d(dim, dim, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim, dim, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim, 3, 3, padding=1),
    )
