"""PSNR and SSIM as papers compute them: on the luma of 8-bit pictures, without the border."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

_LIMITED_RANGE = (65.481, 128.553, 24.966)
_FULL_RANGE = (0.299, 0.587, 0.114)

SSIM_WINDOW_PX = 11
_SSIM_SIGMA_PX = 1.5
_STRIP_AREA_PX = 2**18
"""Pixels that are compared at a time, so that memory holds few values of a large picture.

With more, torch takes over 32 MB at once, which glibc fetches from the system and gives back each time. SSIM
of 6 megapixels took 4.5 s in strips of 256 rows, and 0.7 s in strips of 32.
"""

_FEWEST_ROWS = 16
"""Smallest height of a strip. SSIM reads ten rows beyond each strip once more."""

_SSIM_C1 = (0.01 * 255) ** 2
_SSIM_C2 = (0.03 * 255) ** 2


def luma(picture: Tensor, *, gray: bool = False) -> Tensor:
    """Convert uint8 RGB (N, 3, H, W) to luma (N, 1, H, W), float64, 0 to 255, not rounded.

    Args:
        picture: uint8 RGB.
        gray: Whether the picture represents a gray one. Its values are then used as they are (full range),
            as for a file with one channel. Color uses BT.601 limited range, 16 to 235, like MATLAB's
            ``rgb2ycbcr``.

    Source: Rec. ITU-R BT.601-7; MATLAB ``rgb2ycbcr``, which the published tables use.
    """
    weights = picture.new_tensor(_FULL_RANGE if gray else _LIMITED_RANGE, dtype=torch.float64)
    weights = weights if gray else weights / 255
    offset = 0.0 if gray else 16.0
    return (picture.double() * weights.view(1, 3, 1, 1)).sum(dim=1, keepdim=True) + offset


def as_it_is(picture: Tensor) -> Tensor:
    """Return a picture unchanged."""
    return picture


def psnr(first: Tensor, second: Tensor, plane: Callable[[Tensor], Tensor] = as_it_is) -> float:
    """Return the PSNR for values from 0 to 255, in dB; infinite if the pictures are equal.

    Args:
        first: One picture, of two dimensions or more.
        second: The other one, of the same size.
        plane: Function that returns the values to compare for some rows of a picture, such as ``luma``.
    """
    error, values = torch.zeros((), dtype=torch.float64), 0
    rows = _strip_rows(first)
    for top in range(0, first.shape[-2], rows):
        one, other = (plane(picture[..., top : top + rows, :]) for picture in (first, second))
        error += (one.double() - other.double()).square().sum().cpu()
        values += one.numel()
    return float(10 * torch.log10(255**2 * values / error))


def _strip_rows(picture: Tensor) -> int:
    return max(_FEWEST_ROWS, _STRIP_AREA_PX // picture.shape[-1])


def ssim(first: Tensor, second: Tensor, plane: Callable[[Tensor], Tensor] = as_it_is) -> float:
    """Return the mean SSIM of two planes (1, 1, H, W) with values from 0 to 255, at most 1.

    The window is a Gaussian of 11 pixels with sigma 1.5, and is used only where it fits completely. Pictures
    smaller than the window are compared with a window of their own size.

    Args:
        first: One plane, or a picture from which ``plane`` makes one.
        second: The other one, of the same size.
        plane: Function that returns the plane for some rows of a picture, such as ``luma``.

    Source: Wang et al. 2004 and its published MATLAB code, which the published tables use.
    """
    height, width = first.shape[-2:]
    rows, columns = (
        gaussian_weights(min(SSIM_WINDOW_PX, side), _SSIM_SIGMA_PX).to(first.device)
        for side in (height, width)
    )
    last = len(rows) - 1
    total = 0.0
    strip = _strip_rows(first)
    for top in range(0, height - last, strip):
        one, other = (plane(picture[..., top : top + strip + last, :]) for picture in (first, second))
        total += float(_similarity(one, other, rows, columns).sum())
    return total / ((height - last) * (width - len(columns) + 1))


def _similarity(first: Tensor, second: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the SSIM at each position of the window that has these weights for its rows and its columns."""

    def mean(plane: Tensor) -> Tensor:
        return weighted_means(plane, rows, columns)

    x, y = first.double(), second.double()
    mean_x, mean_y = mean(x), mean(y)
    variances = mean(x * x) - mean_x**2 + mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    structure = (2 * covariance + _SSIM_C2) / (variances + _SSIM_C2)
    return (2 * mean_x * mean_y + _SSIM_C1) / (mean_x**2 + mean_y**2 + _SSIM_C1) * structure


def crop_border(picture: Tensor, border_px: int) -> Tensor:
    """Cut ``border_px`` pixels off each side of (N, C, H, W), or fewer so that a pixel remains."""
    height, width = picture.shape[-2:]
    vertical, horizontal = (min(border_px, (side - 1) // 2) for side in (height, width))
    return picture[..., vertical : height - vertical, horizontal : width - horizontal]


def gaussian_weights(length_px: int, sigma_px: float) -> Tensor:
    """Return the weights of a Gaussian around the middle of a line, (length_px,), float64, with sum 1."""
    positions = torch.arange(length_px, dtype=torch.float64) - (length_px - 1) / 2
    weights = torch.exp(-(positions**2) / (2 * sigma_px**2))
    return weights / weights.sum()


def weighted_means(planes: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Average (N, 1, H, W) in each window that fits, with the weights of the window's rows and columns.

    Returns:
        (N, 1, H - h + 1, W - w + 1), for h weights of rows and w weights of columns.
    """
    return F.conv2d(F.conv2d(planes, rows.view(1, 1, -1, 1)), columns.view(1, 1, 1, -1))
