"""One picture through the engine: colour, transparency and gray each in the way that suits it."""

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from esc_cli.engine.upscaler import ProgressCallback, Upscaler
from esc_cli.jobs.plan import enlarged_size
from esc_cli.media.alpha import bleed
from esc_cli.media.geometry import resize
from esc_cli.media.picture import Picture

GRAY_STRIP_ROWS = 256
"""Rows turned to gray at a time, so that no wide copy of a large result is made."""


def enlarge(
    picture: Picture, upscaler: Upscaler, scale: float, progress: ProgressCallback | None = None
) -> Picture:
    """Upscale a picture with all that belongs to it.

    Under transparent pixels colour is continued from the visible ones first, so that the network sees no
    false edges; transparency itself goes through the network as gray. Where the network's scale is above
    the one asked for, the result is resized down to it.

    Args:
        picture: 8 bits.
        upscaler: Of ``scale`` or above. Its ``progress`` is set anew.
        scale: Any factor above zero.
        progress: Takes the work done and to do, in input pixels of all planes together.

    Raises:
        OutOfMemoryError: The device has too little memory.
    """
    size = enlarged_size(picture.height, picture.width, scale)
    if picture.alpha is None or _is_opaque(picture.alpha):
        (color,) = _upscaled([picture.color], upscaler, size, progress)
        alpha = None if picture.alpha is None else picture.alpha.new_full((1, 1, *size), 255)
    else:
        planes = [bleed(picture.color, picture.alpha), picture.alpha.expand(-1, 3, -1, -1)]
        color, gray_alpha = _upscaled(planes, upscaler, size, progress)
        alpha = make_gray(gray_alpha)[:, :1]
    return dataclasses.replace(picture, color=make_gray(color) if picture.gray else color, alpha=alpha)


def make_gray(color: Tensor) -> Tensor:
    """Replace the three planes of uint8 (1, 3, H, W) by their luma, in place: a gray picture gets no tint.

    Source: Rec. ITU-R BT.601-7, the weights that Pillow's mode L has.
    """
    weights = torch.tensor((0.299, 0.587, 0.114)).view(1, 3, 1, 1)
    for rows in torch.split(color, GRAY_STRIP_ROWS, dim=2):
        rows.copy_((rows * weights).sum(dim=1, keepdim=True).round_())
    return color


def _is_opaque(alpha: Tensor) -> bool:
    return bool((alpha == 255).all())


def _upscaled(
    planes: Sequence[Tensor], upscaler: Upscaler, size: tuple[int, int], progress: ProgressCallback | None
) -> list[Tensor]:
    """Upscale pictures of one size, (1, 3, H, W) uint8, each to ``size``."""
    results = []
    for number, plane in enumerate(planes):
        upscaler.progress = _share_of(progress, number, len(planes))
        results.append(resize(upscaler(plane), *size))
    return results


def _share_of(progress: ProgressCallback | None, number: int, count: int) -> ProgressCallback | None:
    """Make a callback for one of several equal pieces of work."""
    if progress is None:
        return None
    return lambda done, total: progress(number * total + done, count * total)
