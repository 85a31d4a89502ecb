"""Exact streaming runs a network over strips of rows, with the same result as for the whole picture.

Every step of a network is either local or pools over the picture (see ``networks.runner``). A local step runs
strip by strip, and each strip has a halo of as many rows above and below as the step reads. Pooled values are
summed strip by strip before they are used. Nothing is approximated: only the order of floating-point sums
differs from that of the whole picture. Between two steps, memory holds whole feature maps at low resolution.
Everything larger exists for one strip only, the result included.

``Strips`` is the runner that does this. A strip is computed in blocks, which lie side by side (``blocks``). A
map that is read once, or is cheap to compute again, is not kept in memory but ``Deferred``: the strips of the
next kept map compute the blocks that they read, with a halo as wide as both steps reach together.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.memory.free import release_reserve
from esc_cli.engine.tiling.blocks import Block, ComputeBlock, Deferred, blockwise, part_of, reach_of
from esc_cli.engine.tiling.tiles import Emit, Span, round_up
from esc_cli.engine.wrapping import margin_of, run_unbounded
from esc_cli.networks.runner import FeatureMap, Whole

LEAST_ROWS = 32
"""Smallest height of a strip, rounded up to the attention window.

Lower strips leave the kernels too little work.
"""

LARGEST_KERNEL_PX = 13
"""Side of the largest kernel of the published networks."""

MOST_COLUMNS = 1920
"""Largest width of the part of a strip that a step works on at a time.

A part with 128 channels of 32 rows then takes 31 MB in float32. ESC x4 on 96x3840, two cores: 52 s per
megapixel at full width, 41 s in two parts of 1920 columns, and 41 s in four parts of 960 columns, which have
more halos.
"""

ROWS_PER_REACH = 6
"""Height of a strip, relative to its halo.

A step that reads r rows above and below gets strips of this many times r rows. It computes 2 r further rows
for each strip, which are dropped.

ESC x4 on 960x540 in float32, two cores: 22.1 s and 996 MB with 12, 22.9 s and 935 MB with 8, 20.0 s and
911 MB with 6.
"""


def least_rows(window_px: int) -> int:
    """Return the smallest height of a strip, in rows."""
    return round_up(LEAST_ROWS, window_px)


def highest_strip_rows(window_px: int) -> int:
    """Return the height of a published network's highest strip, in rows, its halo included."""
    reach_px = LARGEST_KERNEL_PX // 2
    return max(least_rows(window_px), ROWS_PER_REACH * reach_px) + 2 * reach_px


Strip = list[tuple[Span, Block]]
"""The blocks that lie side by side in the same rows, each with its columns."""


class Strips:
    """A runner that cuts pictures into strips of rows.

    A strip that does not fit in memory is cut in two, and all later strips are at most as high as its halves.
    Finished strips stay finished.

    Args:
        window_px: Grid to which strips are aligned if a step asks for alignment.
        most_rows: Largest height of a strip. It only ever shrinks.
        tick: Called after each strip of each step with the strip's share of its map.
        guard: Makes the context in which strips, and nothing else, are computed. It can translate errors.
        wraps: Axes along which the picture wraps. If rows do, no map is overwritten, because the last strip
            reads the first rows again.
    """

    def __init__(
        self,
        window_px: int,
        most_rows: int,
        tick: Callable[[float], None] = lambda share: None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
        wraps: Wraps = NOT_WRAPPED,
    ) -> None:
        self._wraps = wraps
        self.least_rows = least_rows(window_px)
        self.most_rows = max(most_rows, self.least_rows)
        self._tick = tick
        self._guard = guard

    def local(
        self,
        function: Callable[..., Tensor],
        *maps: FeatureMap,
        reach_px: int,
        align_px: int = 1,
        replaces: FeatureMap | None = None,
        keep: bool = True,
    ) -> FeatureMap:
        """Run a step strip by strip, or, if its result is not kept, when the result is read."""
        first = maps[0]
        compute = blockwise(function, maps, reach_px, align_px, self._wraps)
        reach_px += reach_of(maps)
        if not keep and align_px == 1:  # rows of a grid cannot be computed one by one
            return Deferred(
                lambda rows, columns: compute(rows, columns)[0], first.shape, first.dtype, reach_px
            )
        (stored,) = self._stored(compute, first, (replaces,), reach_px, align_px)
        return stored

    def pair(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        *maps: FeatureMap,
        reach_px: int,
        replaces: tuple[FeatureMap | None, FeatureMap | None] = (None, None),
    ) -> tuple[FeatureMap, FeatureMap]:
        """Run a step with two results strip by strip."""
        compute = blockwise(function, maps, reach_px, 1, self._wraps)
        reach_px += reach_of(maps)
        first, second = self._stored(compute, maps[0], replaces, reach_px)
        return first, second

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> Deferred:
        """Return a map whose rows are computed from the whole map when they are read."""
        margin, sides = margin_of(self._wraps), features.shape[2:]
        rows, columns = (Span(-px, side + px) for px, side in zip(margin, sides, strict=True))
        whole = part_of(features, rows, columns)
        return Deferred(
            lambda rows, columns: run_unbounded(function, whole, rows, margin),
            features.shape,
            features.dtype,
            spans_all_columns=True,
        )

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Pool over the picture by adding up the totals of its strips."""
        height, width = features.shape[2:]
        parts = []
        for start in range(0, height, self.least_rows):
            rows = Span(start, min(height, start + self.least_rows))
            parts.append(accumulate(part_of(features, rows, Span(0, width)), start))
        return finish(torch.stack(parts).sum(dim=0))

    def hand_out(self, result: FeatureMap, emit: Emit) -> None:
        """Compute a network's result and emit it from top to bottom, each strip from left to right."""

        def compute(rows: Span, columns: Span) -> Block:
            return (part_of(result, rows, columns),)

        for rows, strip in self._computed_strips(compute, result, self.least_rows):
            for columns, (block,) in strip:
                emit(rows, columns, block)

    def _stored(
        self,
        compute: ComputeBlock,
        source: FeatureMap,
        targets: tuple[FeatureMap | None, ...],
        reach_px: int,
        align_px: int = 1,
    ) -> list[Tensor]:
        """Compute the maps of a step strip by strip, and keep them in memory.

        A target that is a map in memory is overwritten by its result, even if the step reads it. Therefore a
        strip is written only when no later strip reads the rows that it replaces.

        Args:
            compute: Computes a block of each map.
            source: A map of the same size, (N, C, H, W).
            targets: For each map, one whose place in memory it may take, or None.
            reach_px: Rows above and below a strip that are read in maps in memory.
            align_px: Grid that the step works on.

        Returns:
            The maps, (N, C', H, W).
        """
        strip_rows = max(round_up(ROWS_PER_REACH * reach_px, align_px), self.least_rows)
        height, width = source.shape[2:]
        if self._wraps.rows:
            targets = (None,) * len(targets)
        held: list[Tensor] = []
        pending: deque[tuple[Span, Strip]] = deque()
        for rows, strip in self._computed_strips(compute, source, strip_rows):
            held = held or [
                target if isinstance(target, Tensor) else _empty_map(part, height, width)
                for target, part in zip(targets, strip[0][1], strict=True)
            ]
            pending.append((rows, strip))
            while pending and (rows.stop == height or pending[0][0].stop <= rows.stop - reach_px):
                _write(held, *pending.popleft())
        return held

    def _computed_strips(
        self, compute: ComputeBlock, source: FeatureMap, strip_rows: int
    ) -> Iterator[tuple[Span, Strip]]:
        """Yield the strips of a map with their rows, from top to bottom."""
        height = source.shape[2]
        columns = _columns_of(source, self.least_rows)
        start = 0
        while start < height:
            rows = Span(start, min(height, start + min(strip_rows, self.most_rows)))
            strip = self._compute_strip(compute, rows, columns)
            if strip is not None:
                yield rows, strip
                self._tick(rows.length / height)
                start = rows.stop

    def _compute_strip(self, compute: ComputeBlock, rows: Span, columns: list[Span]) -> Strip | None:
        """Compute a strip. If memory runs out, return None and make later strips lower."""
        try:
            with self._guard():
                return [(part, compute(rows, part)) for part in columns]
        except torch.OutOfMemoryError:
            if rows.length <= self.least_rows:
                raise
        # The handler must end first: until then, the error keeps the failed step's tensors alive.
        self.most_rows = round_up(rows.length // 2, self.least_rows)
        release_reserve()
        return None


class StepCount(Whole):
    """Run a network on a whole picture and count the maps that ``Strips`` would compute strip by strip."""

    def __init__(self) -> None:
        self.steps = 1  # the result

    def local(
        self, function: Callable[..., Tensor], *maps: FeatureMap, keep: bool = True, **how: Any
    ) -> Tensor:
        """Run a step, and count its result if that is kept."""
        self.steps += keep
        return super().local(function, *maps, **how)

    def pair(
        self, function: Callable[..., tuple[Tensor, Tensor]], *maps: FeatureMap, **how: Any
    ) -> tuple[Tensor, Tensor]:
        """Run a step with two results, and count it once."""
        self.steps += 1
        return super().pair(function, *maps, **how)


def _columns_of(source: FeatureMap, align_px: int) -> list[Span]:
    """Cut a map's width into about equal parts on the grid of ``align_px``.

    Columns that do not fill a grid cell belong to the last part, because attention pads them from the window
    before them.
    """
    width = source.shape[3]
    if width <= MOST_COLUMNS or (isinstance(source, Deferred) and source.spans_all_columns):
        return [Span(0, width)]
    columns = round_up(-(-width // -(-width // MOST_COLUMNS)), align_px)
    starts = range(0, width - align_px + 1, columns)
    return [
        Span(start, start + columns if start + columns + align_px <= width else width) for start in starts
    ]


def _empty_map(block: Tensor, height: int, width: int) -> Tensor:
    """Allocate a map for blocks in channels-last order, so that the rows of one picture lie together."""
    n, channels = block.shape[:2]
    return torch.empty(
        (n, channels, height, width),
        dtype=block.dtype,
        device=block.device,
        memory_format=torch.channels_last,
    )


def _write(targets: list[Tensor], rows: Span, strip: Strip) -> None:
    for columns, blocks in strip:
        for target, block in zip(targets, blocks, strict=True):
            target[:, :, rows.pixels, columns.pixels] = block
