"""A loss for steps between attention windows, which are too small to matter in the mean absolute error."""

import torch
from torch import Tensor
from torch.nn import functional as F


def border_loss(error: Tensor, scale: int, window_px: int) -> Tensor:
    """Return how much the error changes, on average, across the borders between attention windows.

    Attention ends at these borders, so a smooth area can become slightly brighter in one window than in the
    next. This step is small compared with the mean error from texture and noise, but it is visible.

    Args:
        error: Result minus original, (N, 3, scale * p, scale * p). The patch begins at a window's corner and
            is larger than one window.
        scale: Output pixels per input pixel.
        window_px: Side of the windows, in low-resolution pixels; smaller than p.

    Returns:
        A scalar: the mean absolute difference between the low-resolution pixels on both sides of a border.

    Source: ours.
    """
    pooled = F.avg_pool2d(error, scale)  # (N, 3, p, p)
    return torch.stack([_steps(pooled, window_px), _steps(pooled.mT, window_px)]).mean()


def _steps(pooled: Tensor, window_px: int) -> Tensor:
    after = pooled[..., window_px::window_px]
    before = pooled[..., window_px - 1 : -1 : window_px]
    return (after - before).abs().mean()
