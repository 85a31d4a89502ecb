"""ESC-LTE: a network for any scale, which computes each pixel of its result separately.

ESC without its head encodes the picture as a feature map. Each pixel of the result is computed four times,
once from each of the four surrounding pixels of the picture, and the four values are blended. Each value
comes from waves, with the amplitudes and frequencies of that surrounding pixel, and a small network after
the waves.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.architectures.base import Architecture, State
from esc_cli.networks.architectures.esc import ESC, ESCConfig
from esc_cli.networks.architectures.tensors import esc_widths, numbers
from esc_cli.networks.grid import Grid
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

LARGEST_TRAINED_SCALE = 4
"""Largest scale that the network is told. The published evaluation also limits the scale in this way."""

BLOCK_PX = 64
"""Side of the blocks in which a result is computed, in pixels, so that memory does not grow with the result.

ESC-LTE x2.5 on 128x128, two cores: 2.4 s and 184 MB with 32, 2.7 s and 227 MB with 64, 3.0 s and 344 MB with
128.
"""


@dataclass(frozen=True)
class LTEConfig(ESCConfig):
    """Widths of ESC-LTE, as in ``ESCConfig``. The defaults are those of the published network.

    Attributes:
        scale: The default scale.
        texture_dim: Channels of the waves.
        decoder_dims: Hidden channels of the small network after the waves.
    """

    scale: int = 4
    texture_dim: int = 256
    decoder_dims: tuple[int, ...] = (256, 256, 256)
    any_scale: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.texture_dim % 2:  # half of them are cosines and half are sines
            raise ValueError(f"the waves must have an even number of channels, not {self.texture_dim}")


class LTE(ESC):
    """Maps low-resolution RGB to RGB of any size.

    Parameter names are the published ones without ``encoder.``.

    Source: LTE (arXiv 2111.08918), section 3, and ESC's published code.
    """

    config: LTEConfig

    def __init__(self, config: LTEConfig) -> None:
        super().__init__(config)
        del self.to_img
        self.coef = nn.Conv2d(config.dim, config.texture_dim, 3, padding=1)
        self.freq = nn.Conv2d(config.dim, config.texture_dim, 3, padding=1)
        self.phase = nn.Linear(2, config.texture_dim // 2, bias=False)
        self.imnet = nn.ModuleDict({"layers": _perceptron(config.texture_dim, *config.decoder_dims, 3)})

    def forward(self, low: Tensor, run: Runner = WHOLE, grid: Grid | None = None) -> FeatureMap:
        """Upscale.

        Args:
            low: (N, 3, H, W) RGB in [0, 1], of any size from 1x1. float32 works with weights of any dtype.
            run: The runner of the network's steps.
            grid: The pixels to compute. The default is ``scale`` H times ``scale`` W.

        Returns:
            (N, 3, grid.height, grid.width), about [0, 1] but not clamped, in the wider dtype of ``low`` and
            the weights. The result is a tensor, unless the runner returns another kind of feature map.
        """
        height, width = low.shape[-2:]
        scale = self.config.scale
        grid = grid or Grid.between((height, width), (scale * height, scale * width))

        def rows(features: Tensor, start: int, stop: int) -> Tensor:
            return self._rows(features, low, grid, range(grid.rows_above(start), grid.rows_above(stop)))

        return run.unbounded(rows, self._encode(low * 2 - 1, run))

    def _encode(self, centred: Tensor, run: Runner) -> FeatureMap:
        """Map a picture in [-1, 1], (N, 3, H, W), to its feature map, (N, dim, H, W)."""
        shallow, features = self._run_blocks(centred, run)
        return run.local(self._add_last, features, shallow, reach_px=1, replaces=features)

    def _add_last(self, features: Tensor, shallow: Tensor) -> Tensor:
        return self.last(features) + shallow  # type: ignore[no-any-return]

    def _rows(self, features: Tensor, low: Tensor, grid: Grid, rows: range) -> Tensor:
        """Compute some rows of the result, (N, 3, rows, grid.width), block by block.

        A result with fewer rows than the picture has none for some of the picture's rows.
        """
        if not rows:
            return low.new_empty((len(low), 3, 0, grid.width))
        columns, device = range(grid.width), low.device
        bands = []
        for part in _parts(rows):
            down = _Axis.of(part, grid.row_factor, grid.low_height, device)
            across = (_Axis.of(part, grid.column_factor, grid.low_width, device) for part in _parts(columns))
            bands.append(torch.cat([self._block(features, low, down, one) for one in across], dim=3))
        return torch.cat(bands, dim=2)

    def _block(self, features: Tensor, low: Tensor, down: "_Axis", across: "_Axis") -> Tensor:
        """Compute the pixels at the given rows and columns, (N, 3, rows, columns)."""
        coefficients, frequencies = self._textures(features, down, across)
        phase = self._phase(down, across)
        below = low[..., down.first : down.stop, across.first : across.stop].permute(0, 2, 3, 1)
        total: Tensor | float = 0.0
        for row in down.corners:
            for column in across.corners:
                distances = row.distances[:, None, None], column.distances[:, None]
                waves = _waves(_picked(frequencies, row, column), phase, *distances)
                textures = _picked(coefficients, row, column) * waves.to(coefficients.dtype)
                made = self.imnet["layers"](textures).to(low.dtype) / 2 + _picked(below, row, column)
                total = total + made * (row.shares[:, None, None] * column.shares[:, None])
        return total.permute(0, 3, 1, 2)  # type: ignore[union-attr]

    def _textures(self, features: Tensor, down: "_Axis", across: "_Axis") -> tuple[Tensor, Tensor]:
        """Return the amplitudes and the frequencies that a block reads, each (N, h, w, texture_dim)."""
        height, width = features.shape[-2:]
        patch = features[..., down.with_neighbours, across.with_neighbours]
        patch = F.pad(patch, (*across.borders(width), *down.borders(height)))
        maps = (F.conv2d(patch, one.weight, one.bias) for one in (self.coef, self.freq))
        coefficients, frequencies = (one.permute(0, 2, 3, 1).contiguous() for one in maps)
        return coefficients, frequencies

    def _phase(self, down: "_Axis", across: "_Axis") -> Tensor:
        """Return the phase of the waves, which depends on the size of the result's pixels."""
        factors = (min(axis.factor, LARGEST_TRAINED_SCALE) for axis in (down, across))
        weight = self.phase.weight.float()
        return F.linear(weight.new_tensor([2 / factor for factor in factors]), weight)


@dataclass(frozen=True)
class _Corner:
    """For each pixel of a block, the nearest pixel of the picture on one side, along one axis.

    Attributes:
        indices: Indices of the picture's pixels, counted from the first pixel that the block reads.
        distances: Distances from the picture's pixels to the block's pixels, in half pixels.
        shares: Weights of the picture's pixels in the result. The weights of both sides add up to one.
    """

    indices: Tensor
    distances: Tensor
    shares: Tensor


@dataclass(frozen=True)
class _Axis:
    """The rows or the columns of a block, and the pixels of the picture that they read.

    Attributes:
        factor: Pixels of the result for each pixel of the picture.
        first: The first pixel that is read.
        stop: The pixel after the last one that is read.
        corners: The picture's pixels before and after each pixel of the block.
    """

    factor: float
    first: int
    stop: int
    corners: tuple[_Corner, _Corner]

    @staticmethod
    def of(part: range, factor: float, length: int, device: torch.device) -> "_Axis":
        """Find where some pixels of a result lie on a picture, along one axis.

        Beyond the centers of the picture's outermost pixels, both sides are the same pixel.
        """
        indices = torch.arange(part.start, part.stop, dtype=torch.float64, device="cpu")
        places = (indices + 0.5) / factor - 0.5
        before = places.floor()
        share = places - before
        sides = [(before + side).clamp(0, length - 1) for side in (0, 1)]
        first, stop = int(sides[0][0]), int(sides[1][-1]) + 1
        corners = [
            _Corner(
                (side - first).long().to(device),
                (2 * (places - side)).float().to(device),
                part_of_it.float().to(device),
            )
            for side, part_of_it in zip(sides, (1 - share, share), strict=True)
        ]
        return _Axis(factor, first, stop, (corners[0], corners[1]))

    @property
    def with_neighbours(self) -> slice:
        """The pixels that a 3x3 convolution reads for these pixels, limited to the map."""
        return slice(max(0, self.first - 1), self.stop + 1)

    def borders(self, length: int) -> tuple[int, int]:
        """Return how many pixels a 3x3 convolution reads before and after a map of the given length."""
        return int(self.first == 0), int(self.stop == length)


def _parts(indices: range) -> list[range]:
    return [indices[start : start + BLOCK_PX] for start in range(0, len(indices), BLOCK_PX)]


def _picked(pixels: Tensor, row: _Corner, column: _Corner) -> Tensor:
    """Take a pixel of (N, h, w, C) for each row and column, (N, rows, columns, C)."""
    return pixels.index_select(1, row.indices).index_select(2, column.indices)


def _waves(frequencies: Tensor, phase: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Return the waves' cosines and sines at the distances, (N, rows, columns, texture_dim), float32."""
    along_rows, along_columns = frequencies[..., 0::2].float(), frequencies[..., 1::2].float()
    angles = math.pi * (along_rows * down + along_columns * across + phase)
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def _perceptron(*dims: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for dim, out_dim in pairwise(dims):
        layers += [nn.Linear(dim, out_dim), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _recognise(state: State) -> LTEConfig | None:
    """Recognize ESC-LTE by the small network that computes each pixel."""
    if "imnet.layers.0.weight" not in state:
        return None
    hidden = len(numbers(state, r"imnet\.layers\.(\d+)\.")) - 1  # every other number is an activation's
    return LTEConfig(
        texture_dim=state["coef.weight"].shape[0],
        decoder_dims=tuple(state[f"imnet.layers.{2 * index}.bias"].shape[0] for index in range(hidden)),
        **esc_widths(state),
    )


ARCHITECTURE = Architecture(LTEConfig, LTE, _recognise, {"esc-lte": LTEConfig})
