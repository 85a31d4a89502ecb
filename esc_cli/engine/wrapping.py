"""Run networks on pictures whose borders wrap: textures that are laid side by side, and panoramas.

Every local step of a network gets, beyond a border, the rows or columns from the opposite side, exactly as
many as it reads. What the network pools is pooled over the picture itself, so nothing counts twice. Windows
of attention tile the picture from the top and the left as usual; the last ones run over the border.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from esc_cli.engine.borders import Wraps
from esc_cli.engine.tiling.tiles import Span, round_up

UNBOUNDED_PX = 32
"""Margin beyond a wrapped border for a step that states no reach (DySample). It rarely reads 2 pixels."""


def reached(span: Span, reach_px: int, align_px: int, length_px: int, *, wraps: bool) -> Span:
    """Return the span that a local step reads for a span of its result.

    Args:
        span: Pixels of the result. They begin on the grid of ``align_px``.
        reach_px: Radius that the step reads.
        align_px: Grid that the step works on.
        length_px: Length of the axis.
        wraps: Whether the axis wraps. If so, the span may begin before 0 and end after the axis, and has
            whole cells of the grid. Otherwise it is cut off at the borders.
    """
    if not wraps:
        return Span(max(0, span.start - reach_px), min(length_px, span.stop + reach_px))
    start = (span.start - reach_px) // align_px * align_px
    return Span(start, start + round_up(span.stop + reach_px - start, align_px))


def is_inside(span: Span, length_px: int) -> bool:
    """Return whether a span lies inside an axis."""
    return span.start >= 0 and span.stop <= length_px


def pieces(span: Span, length_px: int) -> Iterator[Span]:
    """Yield the spans inside an axis that a span covers, in order, if the axis wraps."""
    start = span.start
    while start < span.stop:
        begin = start % length_px
        piece = Span(begin, min(length_px, begin + span.stop - start))
        yield piece
        start += piece.length


def pad_wrapped(picture: Tensor, rows_px: int, columns_px: int) -> Tensor:
    """Pad (..., H, W) of any type on both sides of each axis with what lies on the opposite side.

    Args:
        picture: The picture.
        rows_px: Rows to add at the top, and as many at the bottom.
        columns_px: Columns to add at the left, and as many at the right.
    """
    for axis, pad_px in ((-2, rows_px), (-1, columns_px)):
        length_px = picture.shape[axis]
        if pad_px:
            parts = pieces(Span(-pad_px, length_px + pad_px), length_px)
            picture = torch.cat([picture.narrow(axis, part.start, part.length) for part in parts], dim=axis)
    return picture


def unbounded(
    function: Callable[[Tensor, int, int], Tensor], features: Tensor, rows: Span, margin: tuple[int, int]
) -> Tensor:
    """Run a step without a bounded reach on a map that was padded by ``margin``, and crop the result."""
    above_px, left_px = margin
    high = function(features, rows.start + above_px, rows.stop + above_px)
    scale = high.shape[-2] // rows.length
    return high[..., scale * left_px : high.shape[-1] - scale * left_px]


def margin_of(wraps: Wraps) -> tuple[int, int]:
    """Return the rows and columns that are added on each side for a step without a bounded reach."""
    return UNBOUNDED_PX * wraps.rows, UNBOUNDED_PX * wraps.columns
