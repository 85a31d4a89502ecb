"""Interpolation baselines without weights, for comparison and for tests of everything around the network."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.architectures.base import Architecture, NetworkConfig
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

_REACH_PX = {"nearest": 0, "bicubic": 2}


@dataclass(frozen=True)
class InterpolationConfig(NetworkConfig):
    """The configuration of an ``Interpolation``. It has no attention, so its window is one pixel."""

    scale: int
    method: Literal["nearest", "bicubic"]
    window_size: int = 1
    pools: ClassVar[bool] = False

    @property
    def keeps_pixels(self) -> bool:
        """Whether each pixel of a result copies one pixel of the picture, whatever its neighbors are."""
        return self.method == "nearest"


class Interpolation(nn.Module):
    """Nearest-neighbor interpolation, or bicubic with a = -0.5 (as in MATLAB's ``imresize`` and Pillow)."""

    def __init__(self, config: InterpolationConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        """Map (N, 3, H, W) to (N, 3, scale H, scale W), not clamped."""
        return run.local(self._interpolate, low, reach_px=_REACH_PX[self.config.method], keep=False)

    def _interpolate(self, low: Tensor) -> Tensor:
        if self.config.method == "nearest":
            return F.interpolate(low, scale_factor=self.config.scale, mode="nearest")
        # In torch only the antialiased kernel has a = -0.5. For enlarging, it is the plain bicubic kernel.
        # It does not support half precision on the CPU.
        wide = low.to(torch.promote_types(low.dtype, torch.float32))
        high = F.interpolate(wide, scale_factor=self.config.scale, mode="bicubic", antialias=True)
        return high.to(low.dtype)


ARCHITECTURE = Architecture(InterpolationConfig, Interpolation, recognise=lambda state: None)
