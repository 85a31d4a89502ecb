"""Run networks on pictures whose borders wrap: textures that are laid side by side, and panoramas.

Every local step of a network gets, beyond a border, the rows or columns from the opposite side, exactly as
many as it reads. What the network pools is pooled over the picture itself, so nothing counts twice. Windows
of attention tile the picture from the top and the left as usual; the last ones run over the border.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from esc_cli.engine.borders import Wraps
from esc_cli.engine.tiling.blocks import blockwise, pieces
from esc_cli.engine.tiling.tiles import Span
from esc_cli.networks.runner import FeatureMap, Whole

UNBOUNDED_PX = 32
"""Margin beyond a wrapped border for a step that states no reach (DySample). It rarely reads 2 pixels."""


class Wrapped(Whole):
    """A runner that gives each step the whole picture, with what the step reads beyond borders that wrap."""

    def __init__(self, wraps: Wraps) -> None:
        self._wraps = wraps

    def local(
        self,
        function: Callable[..., Tensor],
        *maps: FeatureMap,
        reach_px: int,
        align_px: int = 1,
        **how: Any,
    ) -> Tensor:
        """Run a step on the maps with what it reads beyond their borders."""
        (result,) = blockwise(function, maps, reach_px, align_px, self._wraps)(*_whole_of(maps[0]))
        return result

    def pair(
        self, function: Callable[..., tuple[Tensor, Tensor]], *maps: FeatureMap, reach_px: int, **how: Any
    ) -> tuple[Tensor, Tensor]:
        """Run a step with two results on the maps with what it reads beyond their borders."""
        first, second = blockwise(function, maps, reach_px, 1, self._wraps)(*_whole_of(maps[0]))
        return first, second

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> Tensor:
        """Compute all rows at once, with a margin that wraps."""
        margin = margin_of(self._wraps)
        padded = pad_wrapped(features, *margin)  # type: ignore[arg-type]
        return run_unbounded(function, padded, Span(0, features.shape[2]), margin)


def _whole_of(features: FeatureMap) -> tuple[Span, Span]:
    """Return all rows and all columns of a map."""
    height, width = features.shape[2:]
    return Span(0, height), Span(0, width)


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
            picture = cut_wrapped(picture, Span(-pad_px, length_px + pad_px), axis)
    return picture


def cut_wrapped(picture: Tensor, span: Span, axis: int) -> Tensor:
    """Cut a span out of an axis that wraps. A span inside the axis gives a view, any other a copy."""
    parts = [picture.narrow(axis, part.start, part.length) for part in pieces(span, picture.shape[axis])]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=axis)


def run_unbounded(
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
