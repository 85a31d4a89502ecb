"""Attribution along a path: as a picture loses its blur, which pixels bring what is seen in the result?"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.analysis.gradient import gradient
from esc_cli.networks.padding import reflect_pad

SIGMA_PX, STEPS = 1.2, 50
"""Of the blur at the beginning of the path, and how many steps it is taken off in: the published ones."""

_RADIUS_PX = 4
"""The published kernel is 9x9."""


def path_attribution(
    objective: Callable[[Tensor], Tensor],
    picture: Tensor,
    steps: int = STEPS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Share what an objective gains from a picture's details among its pixels.

    Args:
        objective: Takes a picture of the same shape and gives a number, differentiable.
        picture: (N, C, H, W), floating point.
        steps: Of the path.
        progress: Is told how many steps are done, of how many.

    Returns:
        (N, C, H, W), of either sign: each step's gradient times what the picture changed in the step. The
        sum is about objective(picture) - objective(blurred picture), exactly so if that is linear.

    Source: Gu and Dong (arXiv 2011.11036), section 3.2, as in its published code: gradients are taken at
    the end of each step. Theirs is the mean of steps, each multiplied by how many there are: this sum.
    """
    attribution = torch.zeros_like(picture)
    blurred = blur(picture, SIGMA_PX)
    for step in range(1, steps + 1):
        sharper = blur(picture, SIGMA_PX * (1 - step / steps))
        attribution += gradient(objective, sharper) * (sharper - blurred)
        blurred = sharper
        if progress is not None:
            progress(step, steps)
    return attribution


def detail_in_window(high: Tensor, top: int, left: int, size_px: int) -> Tensor:
    """Sum up the magnitude of the gradient (to the next row and column) in a square of (N, C, H, W).

    Source: as of ``path_attribution``: the published objective.
    """
    down = high[..., 1:, :-1] - high[..., :-1, :-1]
    across = high[..., :-1, 1:] - high[..., :-1, :-1]
    # A norm, not a root: where nothing changes the root's derivative is infinite, the norm's is zero.
    magnitude: Tensor = torch.linalg.vector_norm(torch.stack((down, across)), dim=0)
    return magnitude[..., top : top + size_px, left : left + size_px].sum()


def blur(picture: Tensor, sigma_px: float) -> Tensor:
    """Blur (N, C, H, W) by a Gaussian cut off at 4 pixels, reflected about the outermost ones."""
    if sigma_px == 0:
        return picture.clone()
    places = torch.arange(-_RADIUS_PX, _RADIUS_PX + 1, dtype=torch.float64)
    weights = torch.exp(-(places**2) / (2 * sigma_px**2))
    line = (weights / weights.sum()).to(picture)
    padded = reflect_pad(picture, *[_RADIUS_PX] * 4)
    planes = padded.flatten(0, 1)[:, None]  # (N C, 1, H + 8, W + 8)
    blurred = F.conv2d(F.conv2d(planes, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))
    return blurred.view_as(picture)
