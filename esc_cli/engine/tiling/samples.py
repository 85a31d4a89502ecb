"""Make a small picture that stands for a large one, so that a network pools over it in seconds."""

import torch
from torch import Tensor

TILE_PX = 64
"""Side of a sample. It is a multiple of the attention windows of most networks."""

TILES = 4
"""Number of samples along each axis."""


def sampled(picture: Tensor) -> Tensor:
    """Put samples that are spread over a picture side by side.

    Args:
        picture: (N, C, H, W) of any type.

    Returns:
        (N, C, h, w) with up to 256 pixels a side. An axis that is no longer than that is kept whole.
    """
    for axis in (-2, -1):
        length_px = picture.shape[axis]
        if length_px > TILES * TILE_PX:
            starts = [((2 * number + 1) * length_px // TILES - TILE_PX) // 2 for number in range(TILES)]
            parts = [picture.narrow(axis, start, TILE_PX) for start in starts]
            picture = torch.cat(parts, dim=axis)
    return picture
