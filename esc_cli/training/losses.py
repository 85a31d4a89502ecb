"""Losses that are added to the mean absolute error."""

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


def frequency_loss(error: Tensor) -> Tensor:
    """Return the mean absolute error in the frequency domain.

    Its gradient has the same size for every frequency, so fine details, whose error is small, count as much
    as coarse ones.

    Args:
        error: Result minus original, (N, 3, H, W), float32.

    Returns:
        A scalar: the mean absolute value of the real and imaginary parts of the transform, not normalized.

    Source: S. Cho et al., "Rethinking coarse-to-fine approach in single image deblurring" (ICCV 2021), the
        multi-scale frequency reconstruction loss.
    """
    return torch.view_as_real(torch.fft.rfft2(error)).abs().mean()
