"""Where the tiles of a picture lie. Pure arithmetic along one axis; a picture has two."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Span:
    """Pixels ``start`` to ``stop - 1`` along an axis of the low-resolution picture."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """Pixels in the span."""
        return self.stop - self.start

    def times(self, factor: int) -> "Span":
        """Give the same place where there are so many pixels for each."""
        return Span(factor * self.start, factor * self.stop)

    def enlarged(self, scale: int, limit_px: int | None = None) -> slice:
        """Give the same place at high resolution.

        Args:
            scale: High-resolution pixels per low-resolution pixel.
            limit_px: The length of the axis at low resolution: what lies behind it is cut off.
        """
        stop = self.stop if limit_px is None else min(self.stop, limit_px)
        return slice(self.start * scale, stop * scale)


def round_up(length_px: int, align_px: int) -> int:
    """Round up to a multiple of ``align_px``."""
    return -(-length_px // align_px) * align_px


def tile_spans(length_px: int, tile_px: int, overlap_px: int, align_px: int) -> tuple[Span, ...]:
    """Cover an axis with tiles of one length.

    As few tiles as tiles of ``tile_px`` need, and then as short as that number allows, so that the last one
    is no sliver. All have the same length: a shape is prepared for once (autotuning, graphs, compilation).
    Every start is a multiple of ``align_px``: an attention window must hold the same pixels in a tile as in
    the whole picture.

    Args:
        length_px: Length of the axis, a multiple of ``align_px``.
        tile_px: The longest tile, rounded up to a multiple of ``align_px``.
        overlap_px: What neighbours share at least, rounded up likewise; less than ``tile_px`` then.
        align_px: The grid that tiles lie on.

    Returns:
        Spans in ascending order, from 0 to ``length_px``; a single one if the axis is no longer than a tile.
    """
    # In steps of the grid everything is an integer, and rounding an even spacing down loses no overlap.
    length, tile = length_px // align_px, round_up(tile_px, align_px) // align_px
    overlap = round_up(overlap_px, align_px) // align_px
    if length <= tile:
        return (Span(0, length_px),)
    count = round_up(length - overlap, tile - overlap) // (tile - overlap)
    tile = round_up(length + (count - 1) * overlap, count) // count
    starts = (index * (length - tile) // (count - 1) for index in range(count))
    return tuple(Span(start * align_px, (start + tile) * align_px) for start in starts)
