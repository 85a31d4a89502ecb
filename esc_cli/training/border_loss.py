"""A loss for what the plain one is too coarse to see: steps between attention windows."""

import torch
from torch import Tensor
from torch.nn import functional as F


def border_loss(error: Tensor, scale: int, window_px: int) -> Tensor:
    """Give how much the error changes, on average, from one side of the windows' borders to the other.

    Attention ends at them, so that a smooth area can come out a little brighter in one window than in the
    next. Such a step is a fraction of what texture and noise cost in the mean error, but it can be seen.

    Args:
        error: Result less original, (N, 3, scale p, scale p), at a window's corner and larger than it.
        scale: Pixels of the result per pixel in.
        window_px: Side of the windows, low-resolution pixels; smaller than p.

    Returns:
        A scalar: the mean absolute difference between the low-resolution pixels on both sides.

    Source: ours.
    """
    pooled = F.avg_pool2d(error, scale)  # (N, 3, p, p)
    return torch.stack([_steps(pooled, window_px), _steps(pooled.mT, window_px)]).mean()


def _steps(pooled: Tensor, window_px: int) -> Tensor:
    after = pooled[..., window_px::window_px]
    before = pooled[..., window_px - 1 : -1 : window_px]
    return (after - before).abs().mean()
