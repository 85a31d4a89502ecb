"""Let borders wrap in the steps around the network: resizing, and filling colors under transparent pixels."""

import math
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from esc_cli.engine.borders import Wraps
from esc_cli.engine.wrapping import pad_wrapped
from esc_cli.enhancement.bleeding import bleed

_REACH_PX = 4
"""Radius of the resizing filter, in pixels of the result or of the picture, whichever are larger."""


@dataclass(frozen=True)
class Margins:
    """Margins around a picture that is to be resized, with what lies at its opposite border.

    The margins of the picture and of the result are whole pixels in the exact ratio of their sizes, so that
    the pixels of the result lie where they lie without margins.

    Attributes:
        low_px: Rows at the top and columns at the left of the picture, and as many on the other side.
        high_px: Rows at the top and columns at the left of the result, and as many on the other side.
        size: Size of the result with its margins, (height, width).
    """

    low_px: tuple[int, int]
    high_px: tuple[int, int]
    size: tuple[int, int]

    @classmethod
    def between(cls, old: tuple[int, int], new: tuple[int, int], wraps: Wraps) -> Self:
        """Choose the margins to resize a picture of one size, (height, width), to another."""
        axes = (wraps.rows, wraps.columns)
        (top, new_top), (left, new_left) = (
            _margin(*sides) if is_wrapped else (0, 0)
            for is_wrapped, *sides in zip(axes, old, new, strict=True)
        )
        return cls((top, left), (new_top, new_left), (new[0] + 2 * new_top, new[1] + 2 * new_left))

    def add(self, picture: Tensor) -> Tensor:
        """Add the margins to a picture, (N, C, H, W)."""
        return pad_wrapped(picture, *self.low_px)

    def crop(self, result: Tensor) -> Tensor:
        """Remove the margins from a result, (N, C, H, W)."""
        (top, left), (height, width) = self.high_px, self.size
        return result[..., top : height - top, left : width - left].contiguous()


def _margin(old_px: int, new_px: int) -> tuple[int, int]:
    common = math.gcd(old_px, new_px)
    old_step, new_step = old_px // common, new_px // common
    times = math.ceil(_REACH_PX * max(1.0, old_px / new_px) / old_step)
    return times * old_step, times * new_step


def wrapped_bleed(color: Tensor, alpha: Tensor, wraps: Wraps) -> Tensor:
    """Fill colors under transparent pixels as ``bleed`` does, also from the opposite side.

    The picture is filled among copies of itself. The coarse levels of the filling end at the outer copies, so
    rolling the picture changes colors that are far from visible ones a little.
    """
    height, width = color.shape[-2:]
    rows_px, columns_px = height * wraps.rows, width * wraps.columns
    filled = bleed(*(pad_wrapped(plane, rows_px, columns_px) for plane in (color, alpha)))
    return filled[..., rows_px : rows_px + height, columns_px : columns_px + width]
