"""Join overlapping tiles without a seam, and keep only the pixels that later tiles still overlap."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from esc_cli.engine.tiling.tiles import Span

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
