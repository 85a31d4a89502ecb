"""Find traces of JPEG, noise and blur in a picture's pixels and tables."""

import statistics
from collections.abc import Iterable
from dataclasses import astuple, dataclass

import torch
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.jpeg_traces import cosine_blocks, grid_offset, jpeg_step

_ORDER = torch.arange(8)[:, None] + torch.arange(8)
"""Sum of the vertical and the horizontal frequency of each coefficient of a block."""

# Bands of frequencies, as masks of a block's coefficients (8, 8).
_LOW = (_ORDER >= 1) & (_ORDER <= 4)
_COARSE = (_ORDER >= 2) & (_ORDER <= 4)
_MIDDLE = (_ORDER >= 3) & (_ORDER <= 6)
_FINE = (_ORDER >= 8) & (_ORDER <= 11)
_FINEST = _ORDER >= 9

_SMOOTHEST_SHARE = 0.1
"""Share of the blocks in which noise is measured."""

_SHARPEST_SHARE = 0.05
"""Share of the blocks with detail that are sharper than the measured softness."""

_FEWEST_BLOCKS = 8
"""Smallest number of blocks for a measurement."""

_UNCLIPPED = (8, 247)
"""Range of block means outside which noise is clipped at black or white."""

_WHITE = 0.5
"""Smallest ratio of the energies of high and middle frequencies in noise.

Noise is equally strong at all frequencies. In texture, high frequencies have a smaller share of the energy.
"""

_DETAIL = 36.0
"""Energy of coarse detail, for luma from 0 to 255, below which a block says nothing about sharpness."""

_LEAST = 1e-2
"""Value that is added to energies in denominators, so that none is zero."""


@dataclass(frozen=True)
class Traces:
    """Traces of earlier damage to a picture.

    Attributes:
        jpeg_step: Step in which JPEG rounded low frequencies, for luma from 0 to 255; 0 without a trace.
        noise: Standard deviation of the luma where the picture is smoothest, for luma from 0 to 255; 0 if
            there is texture instead of noise.
        softness_db: How much weaker fine detail is than coarse detail in the sharpest places, in dB; 0 if
            there is no detail.
    """

    jpeg_step: float
    noise: float
    softness_db: float


def traces_of(picture: Picture) -> Traces:
    """Look for traces in a picture.

    Args:
        picture: Picture of any bit depth and size. Only a part of a large picture is examined.
    """
    return traces_in(picture.color, picture.jpeg_step)


def traces_in(color: Tensor, known_step: float = 0.0) -> Traces:
    """Look for traces in pixels.

    Args:
        color: (1, 3, H, W), uint8, uint16, or float in [0, 1].
        known_step: Step of JPEG in the file's own table. An earlier, coarser step may also leave a trace.
    """
    blocks = cosine_blocks(color)
    step = jpeg_step(blocks) or _cropped_step(color)
    return Traces(max(known_step, step), _noise(blocks), _softness_db(blocks))


def usual_traces(several: Iterable[Traces]) -> Traces:
    """Return the median of each trace over several pictures that belong together.

    Raises:
        InputError: There are no pictures.
    """
    listed = [astuple(traces) for traces in several]
    if not listed:
        raise InputError("there are no pictures from which a model could be chosen")
    steps, noises, softnesses = zip(*listed, strict=True)
    return Traces(*(statistics.median_low(values) for values in (steps, noises, softnesses)))


def _cropped_step(color: Tensor) -> float:
    """Return the step of JPEG in a picture that was cropped or turned afterwards; 0 without a trace."""
    row, column = grid_offset(color)
    return jpeg_step(cosine_blocks(color[..., row:, column:])) if row or column else 0.0


def _noise(blocks: Tensor) -> float:
    """Measure the noise as the finest detail of the smoothest blocks.

    Source: N. Ponomarenko et al., "An automatic approach to lossy compression of AVIRIS images" (IGARSS
    2007): in blocks with the weakest low frequencies, high frequencies are noise.
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
    """Compare fine detail with coarse detail, block by block."""
    coarse = _energy(blocks, _COARSE)
    detailed = coarse > _DETAIL
    if int(detailed.sum()) < _FEWEST_BLOCKS:
        return 0.0
    ratios = coarse[detailed] / (_energy(blocks[detailed], _FINE) + _LEAST)
    return float(10 * ratios.quantile(_SHARPEST_SHARE).log10())


def _energy(blocks: Tensor, frequencies: Tensor) -> Tensor:
    """Return the mean square of the selected coefficients of each block, (blocks,)."""
    return blocks[:, frequencies].square().mean(dim=1)
