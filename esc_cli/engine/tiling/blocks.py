"""Compute blocks of a step's result: some rows and columns, from the parts of its input maps that it reads.

A local step reads some rows and columns around each pixel. For a block of its result, the step gets the same
block of its inputs with a halo of these rows and columns, and the halo is cut off the result. At a border
that wraps, the halo comes from the opposite side of the picture.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from esc_cli.engine.borders import Wraps
from esc_cli.engine.tiling.tiles import Span, round_up
from esc_cli.networks.runner import FeatureMap

Block = tuple[Tensor, ...]
"""The same rows and columns of each map that a step computes, (N, C, r rows, r columns)."""

ComputeBlock = Callable[[Span, Span], Block]
"""Computes a block. The rows and columns are those of the step's input."""


@dataclass(frozen=True)
class Deferred:
    """A map whose values are computed when they are read.

    Attributes:
        block: Takes rows and columns and returns the map's values there, (N, C, r rows, r columns).
        shape: Shape of its first source, (N, C, H, W).
        dtype: Type of its values.
        reach_px: Radius around a pixel in which maps in memory are read.
        spans_all_columns: Whether ``block`` computes only rows of the full width.
    """

    block: Callable[[Span, Span], Tensor]
    shape: torch.Size
    dtype: torch.dtype
    reach_px: int = 0
    spans_all_columns: bool = False


def blockwise(
    function: Callable[..., Tensor | Block],
    maps: tuple[FeatureMap, ...],
    reach_px: int,
    align_px: int,
    wraps: Wraps,
) -> ComputeBlock:
    """Return the function that computes a block of a step's results from the parts of maps that it reads.

    Args:
        function: The step. It takes parts of the maps, (N, C_i, h, w), and returns one or more results,
            (N, C', r h, r w), from which the halo is cut off.
        maps: The inputs of the step, (N, C_i, H, W).
        reach_px: Radius around a pixel of the result that the step reads.
        align_px: Grid that the step works on.
        wraps: Axes along which the maps wrap.
    """
    height, width = maps[0].shape[2:]

    def compute(rows: Span, columns: Span) -> Block:
        reached_rows = reached(rows, reach_px, align_px, height, wraps=wraps.rows)
        reached_columns = reached(columns, reach_px, align_px, width, wraps=wraps.columns)
        results = function(*(part_of(one, reached_rows, reached_columns) for one in maps))
        results = (results,) if isinstance(results, Tensor) else results
        scale = results[0].shape[2] // reached_rows.length
        inner_rows, inner_columns = (
            slice(scale * (inner.start - outer.start), scale * (inner.stop - outer.start))
            for inner, outer in ((rows, reached_rows), (columns, reached_columns))
        )
        return tuple(result[:, :, inner_rows, inner_columns] for result in results)

    return compute


def part_of(source: FeatureMap, rows: Span, columns: Span) -> Tensor:
    """Return a part of a map, (N, C, rows, columns), and compute it if it is deferred.

    Beyond a border, the map goes on at the opposite one.
    """
    height, width = source.shape[2:]
    if _is_inside(rows, height) and _is_inside(columns, width):
        return _inner_part_of(source, rows, columns)
    return torch.cat(
        [
            torch.cat([_inner_part_of(source, row, column) for column in pieces(columns, width)], dim=3)
            for row in pieces(rows, height)
        ],
        dim=2,
    )


def _inner_part_of(source: FeatureMap, rows: Span, columns: Span) -> Tensor:
    if isinstance(source, Deferred):
        return source.block(rows, columns)
    return source[:, :, rows.pixels, columns.pixels]  # type: ignore[index, no-any-return]


def reach_of(maps: tuple[FeatureMap, ...]) -> int:
    """Return the largest reach of the maps of a step; it is 0 if none of them is deferred."""
    return max(one.reach_px if isinstance(one, Deferred) else 0 for one in maps)


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


def _is_inside(span: Span, length_px: int) -> bool:
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
