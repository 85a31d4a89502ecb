"""A network of another family than ESC, which is run as it is: whole or in tiles."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from esc_cli.networks.architectures.base import MemoryProfile, NetworkConfig, TilingAdvice
from esc_cli.networks.padding import reflect_pad
from esc_cli.networks.runner import WHOLE, Runner

Call = Callable[[nn.Module, Tensor], Tensor]
"""Runs a network on pictures, (N, channels, H, W), and returns (N, channels, scale H, scale W)."""

_COLORS = 3

_HALF = {torch.float16: "float16", torch.bfloat16: "bfloat16"}


@dataclass(frozen=True)
class ForeignConfig(NetworkConfig):
    """The known properties of a network of another family.

    Attributes:
        scale: Output pixels per input pixel, along each axis.
        architecture: Name of the architecture.
        tags: The architecture's own words for the variant.
        channels: 3, or 1 for a network for gray pictures, which runs on each color by itself.
        window_size: The sides of the network's input must be multiples of this number of pixels.
        smallest_px: The shortest side that the network accepts, in pixels.
        square: Whether the network's input must be square.
        half: Names of the half precisions that the network supports.
        tiling: How well the network runs in tiles.
        values_per_pixel: Values alive at once at the peak, for each input pixel. See ``Trial``.
        values_per_square: Growth of that number with each further input pixel.
    """

    scale: int
    architecture: str
    tags: tuple[str, ...] = ()
    channels: int = _COLORS
    window_size: int = 1
    smallest_px: int = 1
    square: bool = False
    half: tuple[str, ...] = ()
    tiling: TilingAdvice = "supported"
    values_per_pixel: int = 0
    values_per_square: float = 0.0
    opaque: ClassVar[bool] = True
    pools: ClassVar[bool] = False  # if it does, nothing is known that tiles could share

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the smallest size that the network accepts for a picture."""
        height, width = super().padded_size(max(height, self.smallest_px), max(width, self.smallest_px))
        return (max(height, width),) * 2 if self.square else (height, width)

    def supports(self, dtype: torch.dtype) -> bool:
        """Return whether the network can be run in a precision."""
        return dtype not in _HALF or _HALF[dtype] in self.half

    def memory(self) -> MemoryProfile:
        """Return the memory that the network needs for a picture."""
        return MemoryProfile(values_per_pixel=self.values_per_pixel, values_per_square=self.values_per_square)


class ForeignNetwork(nn.Module):
    """Runs a network of another family on pictures of any size.

    Args:
        model: The network.
        call: Runs the network.
        config: Configuration of the network.
    """

    def __init__(self, model: nn.Module, call: Call, config: ForeignConfig) -> None:
        super().__init__()
        self.config = config
        self.model = model
        self._call = call

    def forward(self, low: Tensor, run: Runner = WHOLE) -> Tensor:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], of any size from 1x1. float32 works with weights of any dtype.
            run: Ignored, because the steps of the network are not known.

        Returns:
            (N, 3, scale H, scale W), about [0, 1] but not clamped, in the dtype of the weights.
        """
        n, colors, height, width = low.shape
        padded_height, padded_width = self.config.padded_size(height, width)
        padded = reflect_pad(low, right=padded_width - width, bottom=padded_height - height)
        if self.config.channels == 1:
            padded = padded.reshape(n * colors, 1, padded_height, padded_width)
        high = self._call(self.model, padded.to(self._dtype()))
        scale = self.config.scale
        high = high.reshape(n, colors, *high.shape[-2:])
        return high[..., : scale * height, : scale * width]

    def _dtype(self) -> torch.dtype:
        return next((one.dtype for one in self.model.parameters() if one.is_floating_point()), torch.float32)
