"""Compute where the tiles of a picture lie, and join overlapping tiles without a seam."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Span:
    """Pixels ``start`` to ``stop - 1`` along an axis of the low-resolution picture."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of pixels in the span."""
        return self.stop - self.start

    @property
    def pixels(self) -> slice:
        """The span as a slice."""
        return slice(self.start, self.stop)

    def times(self, factor: int) -> "Span":
        """Return the same span on an axis that has ``factor`` pixels for each pixel of this one."""
        return Span(factor * self.start, factor * self.stop)

    def enlarged(self, scale: int, limit_px: int | None = None) -> slice:
        """Return the same span at high resolution.

        Args:
            scale: High-resolution pixels per low-resolution pixel.
            limit_px: Length of the axis at low resolution. The part of the span beyond it is cut off.
        """
        stop = self.stop if limit_px is None else min(self.stop, limit_px)
        return slice(self.start * scale, stop * scale)


def round_up(length_px: int, align_px: int) -> int:
    """Round up to a multiple of ``align_px``."""
    return -(-length_px // align_px) * align_px


def tile_spans(length_px: int, tile_px: int, overlap_px: int, align_px: int) -> tuple[Span, ...]:
    """Cover an axis with tiles of one length.

    There are as few tiles as ``tile_px`` allows, and they are as short as their number allows, so that the
    last tile is not a sliver. All tiles have the same length, so that each shape is prepared only once
    (autotuning, graphs, compilation). Every start is a multiple of ``align_px``, because an attention window
    must hold the same pixels in a tile as in the whole picture.

    Args:
        length_px: Length of the axis, a multiple of ``align_px``.
        tile_px: Largest length of a tile. It is rounded up to a multiple of ``align_px``.
        overlap_px: Smallest overlap of neighboring tiles. It is rounded up to a multiple of ``align_px`` and
            must then be less than ``tile_px``.
        align_px: Grid that the tiles lie on.

    Returns:
        Spans in ascending order, from 0 to ``length_px``; a single span if the axis is no longer than a tile.
    """
    # In grid steps all values are integers, and rounding an even spacing down loses no overlap.
    length, tile = length_px // align_px, round_up(tile_px, align_px) // align_px
    overlap = round_up(overlap_px, align_px) // align_px
    if length <= tile:
        return (Span(0, length_px),)
    count = round_up(length - overlap, tile - overlap) // (tile - overlap)
    tile = round_up(length + (count - 1) * overlap, count) // count
    starts = (index * (length - tile) // (count - 1) for index in range(count))
    return tuple(Span(start * align_px, (start + tile) * align_px) for start in starts)


Emit = Callable[[Span, Span, Tensor], None]
"""Receives finished pixels: their rows and columns at low resolution, and the block, (N, C, sh, sw), float32.

The receiver may overwrite the block.
"""


def fade_in(length_px: int, device: torch.device | None = None) -> Tensor:
    """Return the weight of the newer tile at each pixel of an overlap: half a period of a raised cosine.

    The slope is zero at both ends, so that neither edge of the overlap shows as a line.

    Returns:
        (length_px,), float32, increasing, strictly between 0 and 1, symmetric about 1/2.
    """
    centres = (torch.arange(length_px, dtype=torch.float32, device=device) + 0.5) / length_px
    return 0.5 - 0.5 * torch.cos(math.pi * centres)


class Blender:
    """Join tiles that come row by row, each row from left to right.

    Where a tile overlaps earlier tiles, it fades in over them: result = old + share * (new - old). The shares
    of all tiles at a pixel therefore add up to one, and no share must be stored or divided by. Tiles that are
    equal in an overlap join bit for bit. The outer edge of the picture comes from a single tile.

    Pixels that no later tile overlaps are emitted at once. Only the right overlap of the last tile and the
    lower overlaps of the last row are kept, so the whole picture never exists in floating point.
    """

    def __init__(self, rows: tuple[Span, ...], columns: tuple[Span, ...], scale: int, emit: Emit) -> None:
        self._rows = rows
        self._columns = columns
        self._scale = scale
        self._emit = emit
        self._left: Tensor | None = None  # the overlap with the tile to the right, all rows
        # For each column of tiles, the overlap with the tile below, without the right overlap.
        self._above: dict[int, Tensor] = {}

    def add(self, row: int, column: int, tile: Tensor) -> None:
        """Join the next tile.

        Args:
            row: Index of the tile's row.
            column: Index of the tile's column.
            tile: (N, C, scale * height, scale * width), float32. It is overwritten.
        """
        _fade_over(self._left, tile, -1)
        columns = _finished(self._columns, column)
        tile, self._left = _split(tile, columns.length * self._scale, -1)
        _fade_over(self._above.pop(column, None), tile, -2)
        rows = _finished(self._rows, row)
        block, lower = _split(tile, rows.length * self._scale, -2)
        if lower is not None:
            self._above[column] = lower
        self._emit(rows, columns, block)


def _finished(spans: tuple[Span, ...], index: int) -> Span:
    """Return the part of a span that the next span does not overlap."""
    following = spans[index + 1 :]
    return Span(spans[index].start, following[0].start if following else spans[index].stop)


def _fade_over(older: Tensor | None, tile: Tensor, dim: int) -> None:
    """Fade a tile in, in place, over the overlap of older tiles at its start along ``dim``."""
    if older is None:
        return
    length_px = older.shape[dim]
    share = fade_in(length_px, tile.device)
    overlap = tile.narrow(dim, 0, length_px)
    overlap.copy_(older.lerp_(overlap, share if dim == -1 else share[:, None]))


def _split(tile: Tensor, at_px: int, dim: int) -> tuple[Tensor, Tensor | None]:
    """Cut a tile along ``dim``.

    The second part is None if it is empty, else a copy, so that keeping it does not keep the whole tile.
    """
    rest_px = tile.shape[dim] - at_px
    rest = tile.narrow(dim, at_px, rest_px).clone() if rest_px else None
    return tile.narrow(dim, 0, at_px), rest
