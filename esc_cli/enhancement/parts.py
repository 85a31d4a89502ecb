"""Enlarge a part of a picture in seconds, nearly as it is in the result for the whole picture.

ESC pools over the whole picture in every layer, so a part that equals the same part of the whole result takes
the work of the whole. Here the networks pool over samples that are spread over the picture, and a margin
around the part takes the place of the rest. Networks that do not pool need only the margin.
"""

# A part of 128x128 pixels, x4 in float32, compared with the same part of the whole result: PSNR in dB, the
# largest difference in steps of 8 bits, and the share of the values that differ by less than half a step.
# The pictures are 101085 of B100 (0.15 megapixels), a photo of 0.4 (D) and another one of 1 megapixel (P).
#
#                  part alone           and a margin,        and 16 samples       and the picture
#                                       32 px                of 64x64 px          shrunk to 256x256
#   esc-light      46.8  47    90.1 %   62.8  2.9   97.2 %   70.9  1.1   99.93 %  58.2  4.9   90.9 %
#   esc            46.4  51    85.3 %   63.0  2.3   97.4 %   72.7  0.9   99.97 %  60.2  3.1   94.2 %
#   esc-robust     46.7  58    85.1 %   63.9  2.2   98.0 %   73.1  0.8   99.98 %  61.3  3.2   95.5 %
#   esc-fp         47.3  47    92.9 %   73.2  0.7   99.99 %  81.3  0.6   100 %    73.5  1.0   99.99 %
#   esc-real       44.1  78    83.9 %   66.0  1.4   99.1 %   66.4  1.3   99.3 %   59.6  3.0   93.0 %
#   esc, D         48.6  54    91.2 %   63.1  3.4   97.3 %   76.1  0.7   99.99 %  68.1  1.6   99.5 %
#   esc-light, P   56.7  43    97.3 %   74.2  0.8   99.97 %  77.3  0.5   100 %    74.8  0.9   99.96 %
#
# With the statistics of the whole picture, 32 px of margin give 88 to 98 dB and 64 px 140 dB, so the margin
# is not the limit. On P, 4, 9, 25 and 36 samples of 64x64 give 81.9, 68.4, 73.5 and 76.0 dB, 9 of 96x96
# give 71.9 dB, and 16 of 64x64 that run as a batch give 76.4 dB.
#
# Sheets of a photo of 1.1 megapixels, x2 in bfloat16, compared with the whole result in 8 bits: PSNR, largest
# difference, and share of equal values.
#
#   esc 61.9  1  95.8 %     esc-light 63.2  1  96.9 %     esc-fp 64.8  1  97.8 %     esc-tiny 57.7  2  89.0 %
#   (esc-tiny in float32: 64.0  2  97.4 %; esc-real, x4: 58.9  4  91.9 %)

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from esc_cli.engine.tiling.blocks import reached
from esc_cli.engine.tiling.samples import sampled
from esc_cli.engine.tiling.tiles import Span
from esc_cli.engine.upscaler import ProgressCallback
from esc_cli.engine.wrapping import cut_wrapped
from esc_cli.enhancement.enlarge import Enlarger, enlarge
from esc_cli.media.picture import Picture

MARGIN_PX = 32
"""Smallest margin around a part, in pixels of the picture."""


@dataclass(frozen=True)
class Area:
    """The rows and columns of a part."""

    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.rows.length, self.columns.length


def work_px(area: Area, height: int, width: int) -> int:
    """Return the number of pixels that ``enlarge_part`` gives to a network for a part of a picture.

    Windows of attention may add up to a window on each side.
    """
    outer = [side + 2 * MARGIN_PX for side in area.size]
    samples = torch.empty((1, height, width), device="meta")
    return min(height * width, outer[0] * outer[1] + sampled(samples).numel())


def enlarge_part(
    enlarger: Enlarger,
    picture: Picture,
    area: Area,
    progress: ProgressCallback | None = None,
    *,
    exact: bool = False,
) -> Picture:
    """Enlarge a part of a picture.

    Args:
        enlarger: The enlarger of the whole picture.
        picture: The whole picture.
        area: The part, inside the picture.
        progress: Called with the work that is done and its total.
        exact: Whether the part equals the same part of the whole result, which takes as long as the whole.

    Returns:
        The part of the result.

    Raises:
        OutOfMemoryError: The device has too little memory.
    """
    size = enlarger.size_of(picture)
    outer = _widened(area, enlarger, picture, size)
    samples = _with_planes(picture, sampled)
    if exact or outer.size[0] * outer.size[1] + _pixels(samples) >= _pixels(picture):
        whole = enlarger.to_size(picture, size, progress).picture
        return cut_out(whole, area_of_result(area, (picture.height, picture.width), size))
    inner, piece_size = _inside(outer, area, picture, size)
    result = enlarge(
        replace(cut_out(picture, outer), alpha_is_data=enlarger.alpha_is_data),
        enlarger.upscaler(picture, size),
        piece_size,
        enlarger.consistency,
        progress,
        samples=replace(samples, alpha_is_data=enlarger.alpha_is_data),
    )
    return cut_out(result.picture, inner)


def area_of_result(area: Area, low: tuple[int, int], high: tuple[int, int]) -> Area:
    """Return the area of a result that shows an area of its picture. Sizes are (height, width)."""
    return Area(_scaled(area.rows, low[0], high[0]), _scaled(area.columns, low[1], high[1]))


def cut_out(picture: Picture, area: Area) -> Picture:
    """Cut an area out of a picture, whose borders wrap if the area goes beyond them."""
    return _with_planes(
        picture, lambda planes: cut_wrapped(cut_wrapped(planes, area.rows, -2), area.columns, -1)
    )


def _with_planes(picture: Picture, make: Callable[[Tensor], Tensor]) -> Picture:
    """Return a picture with what a function makes of its colors and of its alpha."""
    alpha = None if picture.alpha is None else make(picture.alpha)
    return replace(picture, color=make(picture.color), alpha=alpha)


def _pixels(picture: Picture) -> int:
    return picture.height * picture.width


def _widened(area: Area, enlarger: Enlarger, picture: Picture, size: tuple[int, int]) -> Area:
    """Return an area with its margin, which begins and ends on the grid of the network's windows."""
    upscaler, wraps = enlarger.upscaler(picture, size), enlarger.models.wraps
    window_px = 1 if upscaler is None else upscaler.window_px

    def widened(span: Span, length_px: int, *, is_wrapped: bool) -> Span:
        outer = reached(span, MARGIN_PX, window_px, length_px, wraps=True)
        return outer if is_wrapped else Span(max(0, outer.start), min(length_px, outer.stop))

    return Area(
        widened(area.rows, picture.height, is_wrapped=wraps.rows),
        widened(area.columns, picture.width, is_wrapped=wraps.columns),
    )


def _inside(outer: Area, area: Area, picture: Picture, size: tuple[int, int]) -> tuple[Area, tuple[int, int]]:
    """Return where the result of an area lies in that of the area with its margin, whose size comes next."""
    low = picture.height, picture.width
    high, wide = area_of_result(area, low, size), area_of_result(outer, low, size)
    rows, columns = (
        Span(inner.start - whole.start, inner.stop - whole.start)
        for inner, whole in ((high.rows, wide.rows), (high.columns, wide.columns))
    )
    return Area(rows, columns), wide.size


def _scaled(span: Span, old_px: int, new_px: int) -> Span:
    """Return the same span of an axis that was enlarged, in whole pixels: at least one."""
    start = round(span.start * new_px / old_px)
    stop = round(span.stop * new_px / old_px)
    return Span(start, stop) if stop > start else Span(min(start, new_px - 1), min(start, new_px - 1) + 1)
