"""What JPEG has left in pixels, whatever file they come in now."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from esc_cli.media.pixels.cosine_blocks import BLOCK_PX, luma_255

_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))
"""Vertical and horizontal: those that most blocks have something of."""

_STEPS = torch.arange(3, 41)
"""Finer ones drown in the rounding to 8 bits."""

_ALIKE = 0.01
"""Coefficients closer to each other than this are one piece of evidence."""

_FEWEST_VALUES = 8
"""That are not rounded to zero: fewer are no evidence."""

_FEWEST_FREQUENCIES = 3

_MIDDLE_PX = 960
"""Of a larger picture so much is searched for the grid."""

_LARGEST_EXCESS = 4.0
"""A picture's own edges count no more than this, of luma from 0 to 255."""

_CERTAIN = 5.0
"""Standard deviations from chance."""


def jpeg_step(blocks: Tensor) -> float:
    """Find the steps in which JPEG rounded the low frequencies of the luma.

    Of pictures that were neither resized, cropped nor turned since: in 92 % of 150 freely licensed pictures,
    shrunk to a few hundred pixels, then compressed at quality 75 or 50. Before, there was none in any.

    Args:
        blocks: As of ``cosine_blocks``.

    Returns:
        The median over the frequencies of which it is certain, in the unit of luma from 0 to 255: 4 at
        quality 85, 7 at 75, 13 at 50, in the tables of the IJG; below 25 only something coarse. 0 if there is
        none.

    Source:
        The comb that quantisation makes of the coefficients' histogram: Z. Fan, R. L. de Queiroz,
        "Identification of bitmap compression history" (IEEE Transactions on Image Processing 12, 2003).
    """
    found = [step for row, column in _FREQUENCIES if (step := _step_of(blocks[:, row, column].abs()))]
    return float(torch.tensor(found).float().median()) if len(found) >= _FEWEST_FREQUENCIES else 0.0


def grid_offset(picture: Tensor) -> tuple[int, int]:
    """Find the row and the column at which JPEG's blocks may begin: where neighbours differ most.

    Args:
        picture: As of ``cosine_blocks``; its middle is looked at.

    Returns:
        From 0 to 7 each; of a picture that was no JPEG anything. Of 100 freely licensed pictures of 240x240
        pixels, compressed and then cut, ``jpeg_step`` finds 33 from there at quality 85, 62 at 75 and 84 at
        50; of those that are not cut, which need no offset, 91, 93 and 97.
    """
    height, width = picture.shape[-2:]
    top, left = (max(0, side - _MIDDLE_PX) // 2 // BLOCK_PX * BLOCK_PX for side in (height, width))
    luma = luma_255(picture[..., top : top + _MIDDLE_PX, left : left + _MIDDLE_PX])
    return _offset(luma.T), _offset(luma)


def _offset(luma: Tensor) -> int:
    """Find the first column of blocks, (H, W)."""
    steps = luma.diff(dim=1).abs()
    excess = (steps[:, 1:-1] - (steps[:, 2:] + steps[:, :-2]) / 2).clamp(-_LARGEST_EXCESS, _LARGEST_EXCESS)
    columns = excess.mean(dim=0)  # of the difference between columns 1 and 2 first
    periods = columns[: len(columns) // BLOCK_PX * BLOCK_PX].view(-1, BLOCK_PX)
    return (int(periods.mean(dim=0).argmax()) + 2) % BLOCK_PX if len(periods) else 0


def table_step(table: Sequence[int]) -> float:
    """Give the steps in which a JPEG's own table has the low frequencies rounded.

    Args:
        table: Of the luma, 64 steps, row by row.

    Returns:
        Their median, as of ``jpeg_step``: finer ones too.
    """
    return float(statistics.median(table[row * 8 + column] for row, column in _FREQUENCIES))


def _step_of(values: Tensor) -> int:
    """Find the step whose multiples the values crowd around; 0 if there is none."""
    # A drawing's blocks repeat each other.
    different = torch.unique((values / _ALIKE).round()) * _ALIKE
    certainty, step = max((_certainty(different, int(step)), int(step)) for step in _STEPS)
    return step if certainty > _CERTAIN else 0


def _certainty(values: Tensor, step: int) -> float:
    """Give the mean cosine of the phases of what is not rounded to zero, in standard deviations of chance."""
    coded = values[values > step / 2]
    if len(coded) < _FEWEST_VALUES:
        return 0.0
    return float(torch.cos(2 * math.pi / step * coded).mean()) * math.sqrt(2 * len(coded))
