"""Reflection padding for sides of any length."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def reflect_pad(picture: Tensor, left: int = 0, right: int = 0, top: int = 0, bottom: int = 0) -> Tensor:
    """Pad (N, C, H, W) by reflection about its outermost pixels.

    Torch does not reflect further than the length of a side (pytorch issue 18413). This function continues
    the reflection back and forth, as ``numpy.pad(mode="reflect")`` does, so that a picture of any size, even
    1x1, can be padded to a whole attention window. A side of one pixel is repeated.

    Returns:
        (N, C, top + H + bottom, left + W + right), with the dtype and the device of ``picture``.
    """
    if not (left or right or top or bottom):
        return picture
    height, width = picture.shape[-2:]
    if max(left, right) < width and max(top, bottom) < height and picture.is_floating_point():
        return F.pad(picture, (left, right, top, bottom), mode="reflect")
    rows = _reflected_indices(height, top, bottom).to(picture.device)
    columns = _reflected_indices(width, left, right).to(picture.device)
    return picture.index_select(-2, rows).index_select(-1, columns)


def pad_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Pad (N, C, H, W) at the right and the bottom, by reflection, to a multiple of ``multiple`` pixels."""
    height, width = picture.shape[-2:]
    return reflect_pad(picture, right=-width % multiple, bottom=-height % multiple)


def run_padded(
    network: Callable[..., Tensor], low: Tensor, window_px: int, scale: int, **arguments: Any
) -> Tensor:
    """Run a network as the engine does: pad the picture to whole attention windows, and crop the result.

    Args:
        network: Network, from (N, 3, H', W') to (N, 3, scale H', scale W').
        low: (N, 3, H, W).
        window_px: Side of the attention windows, in pixels.
        scale: Output pixels per input pixel, along each axis.
        arguments: Further arguments of the network.

    Returns:
        (N, 3, scale H, scale W).
    """
    height, width = (scale * side for side in low.shape[-2:])
    return network(pad_to_multiple(low, window_px), **arguments)[..., :height, :width]


def _reflected_indices(length: int, before: int, after: int) -> Tensor:
    positions = torch.arange(-before, length + after)
    period = max(2 * (length - 1), 1)
    positions = positions.remainder(period)
    return torch.where(positions >= length, period - positions, positions)
