"""Compute where the tiles of a picture lie, along one axis at a time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Pixels ``start`` to ``stop - 1`` along an axis of the low-resolution picture."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Number of pixels in the span."""
        return self.stop - self.start

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
