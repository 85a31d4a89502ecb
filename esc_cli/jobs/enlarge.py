"""One picture through the engine: colour, transparency and gray each in the way that suits it."""

import dataclasses

import torch
from torch import Tensor

from esc_cli.engine.upscaler import Upscaler
from esc_cli.jobs.plan import enlarged_size
from esc_cli.media.alpha import bleed
from esc_cli.media.geometry import resize
from esc_cli.media.picture import Picture

GRAY_STRIP_ROWS = 256
"""Rows turned to gray at a time, so that no wide copy of a large result is made."""


def enlarge(picture: Picture, upscaler: Upscaler, scale: float) -> Picture:
    """Upscale a picture with all that belongs to it.

    Under transparent pixels colour is continued from the visible ones first, so that the network sees no
    false edges; transparency itself goes through the network as gray. Where the network's scale is above
    the one asked for, the result is resized down to it.

    Args:
        picture: 8 bits.
        upscaler: Of ``scale`` or above.
        scale: Any factor above zero.

    Raises:
        OutOfMemoryError: The device has too little memory.
    """
    height, width = enlarged_size(picture.height, picture.width, scale)
    if picture.alpha is None:
        color, alpha = _resized(upscaler(picture.color), height, width), None
    else:
        color = _resized(upscaler(bleed(picture.color, picture.alpha)), height, width)
        alpha = _enlarged_alpha(picture.alpha, upscaler, height, width)
    if picture.gray:
        make_gray(color)
    return dataclasses.replace(picture, color=color, alpha=alpha)


def make_gray(color: Tensor) -> None:
    """Replace the three planes of uint8 (1, 3, H, W) by their luma, in place: a gray picture gets no tint.

    Source: Rec. ITU-R BT.601-7, the weights that Pillow's mode L has.
    """
    weights = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    for rows in color.split(GRAY_STRIP_ROWS, dim=2):
        rows.copy_((rows * weights).sum(dim=1, keepdim=True).round_())


def _enlarged_alpha(alpha: Tensor, upscaler: Upscaler, height: int, width: int) -> Tensor:
    if bool((alpha == 255).all()):
        return alpha.new_full((1, 1, height, width), 255)
    high = _resized(upscaler(alpha.expand(-1, 3, -1, -1)), height, width)
    make_gray(high)
    return high[:, :1]


def _resized(high: Tensor, height: int, width: int) -> Tensor:
    return high if high.shape[-2:] == (height, width) else resize(high, height, width)
