"""Traces of JPEG, noise and blur in a picture's pixels and tables."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from esc_cli.media.picture import Picture
from esc_cli.media.pixels.cosine_blocks import cosine_blocks
from esc_cli.media.pixels.jpeg_traces import grid_offset, jpeg_step

_ORDER = torch.arange(8)[:, None] + torch.arange(8)
"""The sum of a block's two frequencies."""

_LOW = (_ORDER >= 1) & (_ORDER <= 4)
_COARSE = (_ORDER >= 2) & (_ORDER <= 4)
_MIDDLE = (_ORDER >= 3) & (_ORDER <= 6)
_FINE = (_ORDER >= 8) & (_ORDER <= 11)
_FINEST = _ORDER >= 9

_SMOOTHEST_SHARE = 0.1
_SHARPEST_SHARE = 0.05
_FEWEST_BLOCKS = 8

_UNCLIPPED = (8, 247)
"""Means of blocks: beyond, noise is cut off at black or white."""

_WHITE = 0.5
"""Noise is as strong at all frequencies; of texture, high ones have less than this share of the energy."""

_DETAIL = 36.0
"""Energy of coarse detail, of luma from 0 to 255, below which a block says nothing about sharpness."""

_LEAST = 1e-2
"""Added to energies that others are divided by, so that none is zero."""


@dataclass(frozen=True)
class Traces:
    """Traces of a past.

    Attributes:
        jpeg_step: In which JPEG rounded low frequencies, of luma from 0 to 255; 0 if there is no trace of it.
        noise: Standard deviation of the luma where a picture is smoothest, likewise; 0 where that is texture.
        softness_db: By how much fine detail is weaker than coarse in the sharpest places; 0 if there is none.
    """

    jpeg_step: float
    noise: float
    softness_db: float


def traces_of(picture: Picture) -> Traces:
    """Look for traces in a picture.

    Args:
        picture: Of any depth and size; of a large one, only a part is looked at.
    """
    return traces_in(picture.color, picture.jpeg_step)


def traces_in(color: Tensor, known_step: float = 0.0) -> Traces:
    """Look for traces in pixels.

    Args:
        color: (1, 3, H, W), uint8, uint16, or float in [0, 1].
        known_step: Of JPEG, as the file's own table says; an earlier, coarser one may show beside it.
    """
    blocks = cosine_blocks(color)
    step = jpeg_step(blocks) or _cropped_step(color)
    return Traces(max(known_step, step), _noise(blocks), _softness_db(blocks))


def usual_traces(several: Iterable[Traces]) -> Traces:
    """Give the median of each trace over several pictures that belong together."""
    steps, noises, softnesses = zip(*((t.jpeg_step, t.noise, t.softness_db) for t in several), strict=True)
    return Traces(*(statistics.median_low(values) for values in (steps, noises, softnesses)))


def _cropped_step(color: Tensor) -> float:
    """Look for JPEG where the picture was cut out of a larger one, or turned."""
    row, column = grid_offset(color)
    return jpeg_step(cosine_blocks(color[..., row:, column:])) if row or column else 0.0


def _noise(blocks: Tensor) -> float:
    """Measure the finest detail of the smoothest blocks.

    Source: N. Ponomarenko et al., "An automatic approach to lossy compression of AVIRIS images" (IGARSS
    2007): in blocks with the least low frequencies, high ones are noise.
    """
    means = blocks[:, 0, 0] / 8
    blocks = blocks[(means > _UNCLIPPED[0]) & (means < _UNCLIPPED[1])]
    if len(blocks) < _FEWEST_BLOCKS:
        return 0.0
    count = max(_FEWEST_BLOCKS, int(len(blocks) * _SMOOTHEST_SHARE))
    smoothest = blocks[_energy(blocks, _LOW).argsort()[:count]]
    fine, middle = _energy(smoothest, _FINEST), _energy(smoothest, _MIDDLE)
    is_white = float((fine / (middle + _LEAST)).median()) >= _WHITE
    return float(fine.sqrt().median()) if is_white else 0.0


def _softness_db(blocks: Tensor) -> float:
    """Compare fine detail with coarse, block by block."""
    coarse = _energy(blocks, _COARSE)
    detailed = coarse > _DETAIL
    if int(detailed.sum()) < _FEWEST_BLOCKS:
        return 0.0
    ratios = coarse[detailed] / (_energy(blocks[detailed], _FINE) + _LEAST)
    return float(10 * ratios.quantile(_SHARPEST_SHARE).log10())


def _energy(blocks: Tensor, frequencies: Tensor) -> Tensor:
    """Give the mean square of some of each block's coefficients, (blocks,)."""
    return blocks[:, frequencies].square().mean(dim=1)
