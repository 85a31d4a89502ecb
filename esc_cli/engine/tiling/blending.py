"""Joins overlapping tiles without a seam, keeping only what later tiles still touch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from esc_cli.engine.tiling.tiles import Span

Emit = Callable[[Span, Span, Tensor], None]
"""Takes finished pixels: their rows and columns at low resolution, and the block (N, C, sh, sw), float32,
which the receiver may overwrite."""


def fade_in(length_px: int, device: torch.device | None = None) -> Tensor:
    """Give the share of the newer tile at each pixel of an overlap: half a period of a raised cosine.

    Its slope is zero at both ends, so that neither edge of the overlap shows as a line.

    Returns:
        (length_px,), float32, rising, strictly between 0 and 1, symmetric about 1/2.
    """
    centres = (torch.arange(length_px, dtype=torch.float32, device=device) + 0.5) / length_px
    return 0.5 - 0.5 * torch.cos(math.pi * centres)


class Blender:
    """Joins tiles that come row by row, each row from left to right.

    A tile fades in over what the tiles before it left where they overlap: result = old + share * (new - old).
    The shares of all tiles at a pixel so add up to one without any being stored or divided by, equal tiles
    join bit for bit, and the outer edge of the picture is its tile's alone.

    What no later tile touches is emitted at once. Only the right overlap of the last tile and the lower
    overlaps of the last row are kept: the picture never exists in floating point.
    """

    def __init__(self, rows: tuple[Span, ...], columns: tuple[Span, ...], scale: int, emit: Emit) -> None:
        self._rows = rows
        self._columns = columns
        self._scale = scale
        self._emit = emit
        self._left: Tensor | None = None  # the overlap with the tile to the right, all its rows
        # By column: the overlap with the tile below, finished columns only.
        self._above: dict[int, Tensor] = {}

    def add(self, row: int, column: int, tile: Tensor) -> None:
        """Join the next tile.

        Args:
            row: Its index among the rows of tiles.
            column: Its index among the columns of tiles.
            tile: (N, C, scale * height, scale * width), float32; overwritten.
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
    """Give the part of a span that the next one does not touch."""
    following = spans[index + 1 :]
    return Span(spans[index].start, following[0].start if following else spans[index].stop)


def _fade_over(older: Tensor | None, tile: Tensor, dim: int) -> None:
    """Fade a tile in, in place, over what is left of older ones at its start along ``dim``."""
    if older is None:
        return
    length_px = older.shape[dim]
    share = fade_in(length_px, tile.device)
    overlap = tile.narrow(dim, 0, length_px)
    overlap.copy_(older.lerp_(overlap, share if dim == -1 else share[:, None]))


def _split(tile: Tensor, at_px: int, dim: int) -> tuple[Tensor, Tensor | None]:
    """Cut along ``dim``; the second part is a copy, so that keeping it does not keep the tile, or None."""
    rest_px = tile.shape[dim] - at_px
    rest = tile.narrow(dim, at_px, rest_px).clone() if rest_px else None
    return tile.narrow(dim, 0, at_px), rest
