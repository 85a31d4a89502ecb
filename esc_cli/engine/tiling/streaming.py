"""Exact streaming: a network over strips of rows, with the result of the whole picture.

Every step of a network is either local or pools over the picture (``networks.runner``). A local step is
run strip by strip, each with as many rows above and below as the step reads; what is pooled is summed up
strip by strip before it is used. Nothing is approximated: the result differs from the whole picture's by
the order of floating-point sums only. Between two steps whole feature maps lie in memory, of the low
resolution's size; all that is larger lives for one strip, the result included.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from esc_cli.engine.memory.free import release_reserve
from esc_cli.engine.tiling.blending import Emit
from esc_cli.engine.tiling.tiles import Span, round_up
from esc_cli.networks.runner import FeatureMap, Whole

LEAST_ROWS = 32
"""Of a strip, rounded up to the attention window: less leaves the kernels too little to do."""

LARGEST_KERNEL_PX = 13

MOST_COLUMNS = 1920
"""Of what a step works on at a time: 128 channels of 32 rows are 31 MB in float32 then. ESC x4 on 96x3840,
two cores: 52 s a megapixel whole, 41 in two parts of 1920, 41 in four of 960, with more halos."""

ROWS_PER_REACH = 6
"""Strips of a step that reads r rows beside them have this many times r rows, and 2 r are computed in vain.

ESC x4 on 960x540 in float32, two cores: 22.1 s and 996 MB with 12, 22.9 s and 935 MB with 8, 20.0 s and
911 MB with 6."""


def least_rows(window_px: int) -> int:
    """Give the rows of the lowest strip."""
    return round_up(LEAST_ROWS, window_px)


def strip_rows(window_px: int) -> int:
    """Give the rows that the highest strip of a published network has, those that it reads included."""
    reach_px = LARGEST_KERNEL_PX // 2
    return max(least_rows(window_px), ROWS_PER_REACH * reach_px) + 2 * reach_px


Block = tuple[Tensor, ...]
"""The same rows and columns of each map that a step makes, (N, C, r rows, r columns)."""

ComputeBlock = Callable[[Span, Span], Block]
"""Takes rows and columns at the resolution of the step's input."""

Strip = list[tuple[Span, Block]]
"""The blocks that lie side by side in some rows, with their columns."""


@dataclass(frozen=True)
class Deferred:
    """A map that is computed where it is needed.

    Attributes:
        block: From rows and columns to what the map has there, (N, C, r rows, r columns).
        shape: (N, C, H, W) of its first source.
        dtype: Of its numbers.
        reach_px: How far from a pixel maps are read that lie in memory.
        spans_all_columns: Whether ``block`` makes rows of the whole width only.
    """

    block: Callable[[Span, Span], Tensor]
    shape: torch.Size
    dtype: torch.dtype
    reach_px: int = 0
    spans_all_columns: bool = False


class Strips:
    """The runner that cuts pictures into strips of rows.

    A strip that does not fit in memory is cut in two, and no later one is higher; what is finished stays.

    Args:
        window_px: The grid that strips keep to where a step asks for one.
        most_rows: Of a strip; it only ever shrinks.
        tick: Is called with the share of its map that a strip was, for each strip of each step.
        guard: The context in which strips are computed, and nothing else; to translate errors.
    """

    def __init__(
        self,
        window_px: int,
        most_rows: int,
        tick: Callable[[float], None] = lambda share: None,
        guard: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
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
        """Run a step strip by strip, or, if its result is not kept, where it is asked for."""
        first = maps[0]
        compute = _block_of(lambda *blocks: (function(*blocks),), maps, reach_px)
        reach_px += _reach_of(maps)
        if not keep:
            return Deferred(
                lambda rows, columns: compute(rows, columns)[0], first.shape, first.dtype, reach_px
            )
        (stored,) = self._stored(compute, first, (replaces,), self._height(reach_px, align_px), reach_px)
        return stored

    def pair(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        *maps: FeatureMap,
        reach_px: int,
        replaces: tuple[FeatureMap | None, FeatureMap | None],
    ) -> tuple[FeatureMap, FeatureMap]:
        """Run a step that makes two maps strip by strip."""
        compute = _block_of(function, maps, reach_px)
        reach_px += _reach_of(maps)
        first, second = self._stored(compute, maps[0], replaces, self._height(reach_px), reach_px)
        return first, second

    def _height(self, reach_px: int, align_px: int = 1) -> int:
        """Choose the rows of a step's strips."""
        return max(round_up(ROWS_PER_REACH * reach_px, align_px), self.least_rows)

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> Deferred:
        """Compute rows when they are asked for, from the whole map."""
        height, width = features.shape[2:]
        whole = _part_of(features, Span(0, height), Span(0, width))
        return Deferred(
            lambda rows, columns: function(whole, rows.start, rows.stop),
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
        """Add up what the strips give."""
        height, width = features.shape[2:]
        parts = []
        for start in range(0, height, self.least_rows):
            rows = Span(start, min(height, start + self.least_rows))
            parts.append(accumulate(_part_of(features, rows, Span(0, width)), start))
        return finish(torch.stack(parts).sum(dim=0))

    def hand_out(self, result: FeatureMap, emit: Emit) -> None:
        """Compute a network's result and hand it out from top to bottom, each strip from left to right."""

        def compute(rows: Span, columns: Span) -> Block:
            return (_part_of(result, rows, columns),)

        for rows, strip in self._strips(compute, result, self.least_rows):
            for columns, (block,) in strip:
                emit(rows, columns, block)

    def _stored(
        self,
        compute: ComputeBlock,
        source: FeatureMap,
        targets: tuple[FeatureMap | None, ...],
        strip_rows: int,
        reach_px: int,
    ) -> list[Tensor]:
        """Compute maps and hold them, each in its target if that is a map in memory; it may be a source.

        A strip is written when no other one to come reads the rows that it replaces.
        """
        height, width = source.shape[2:]
        held: list[Tensor] = []
        pending: deque[tuple[Span, Strip]] = deque()
        for rows, strip in self._strips(compute, source, strip_rows):
            held = held or [
                target if isinstance(target, Tensor) else _empty_map(part, height, width)
                for target, part in zip(targets, strip[0][1], strict=True)
            ]
            pending.append((rows, strip))
            while pending and (rows.stop == height or pending[0][0].stop <= rows.stop - reach_px):
                _write(held, *pending.popleft())
        return held

    def _strips(
        self, compute: ComputeBlock, source: FeatureMap, strip_rows: int
    ) -> Iterator[tuple[Span, Strip]]:
        height = source.shape[2]
        columns = _columns_of(source, self.least_rows)
        start = 0
        while start < height:
            rows = Span(start, min(height, start + min(strip_rows, self.most_rows)))
            strip = self._attempt(compute, rows, columns)
            if strip is not None:
                yield rows, strip
                self._tick(rows.length / height)
                start = rows.stop

    def _attempt(self, compute: ComputeBlock, rows: Span, columns: list[Span]) -> Strip | None:
        """Compute a strip; None if memory runs out, and then strips are lower from now on."""
        try:
            with self._guard():
                return [(part, compute(rows, part)) for part in columns]
        except torch.OutOfMemoryError:
            if rows.length <= self.least_rows:
                raise
        # Not in the handler: until it ends, the error keeps the failed step's tensors alive.
        self.most_rows = round_up(rows.length // 2, self.least_rows)
        release_reserve()
        return None


class StepCount(Whole):
    """Runs a network plainly and counts the maps that ``Strips`` would compute strip by strip."""

    def __init__(self) -> None:
        self.steps = 1  # the result

    def local(
        self, function: Callable[..., Tensor], *maps: FeatureMap, keep: bool = True, **how: Any
    ) -> Tensor:
        """Run the step, and count it if its result is kept."""
        self.steps += keep
        return super().local(function, *maps, **how)

    def pair(
        self, function: Callable[..., tuple[Tensor, Tensor]], *maps: FeatureMap, **how: Any
    ) -> tuple[Tensor, Tensor]:
        """Run the step, and count it."""
        self.steps += 1
        return super().pair(function, *maps, **how)


def _block_of(function: Callable[..., Block], maps: tuple[FeatureMap, ...], reach_px: int) -> ComputeBlock:
    """Give what computes a block of a step's results from all that it reads."""
    height, width = maps[0].shape[2:]

    def compute(rows: Span, columns: Span) -> Block:
        reached_rows, reached_columns = _widened(rows, reach_px, height), _widened(columns, reach_px, width)
        results = function(*(_part_of(one, reached_rows, reached_columns) for one in maps))
        scale = results[0].shape[2] // reached_rows.length
        inner_rows, inner_columns = (
            slice(scale * (inner.start - reached.start), scale * (inner.stop - reached.start))
            for inner, reached in ((rows, reached_rows), (columns, reached_columns))
        )
        return tuple(result[:, :, inner_rows, inner_columns] for result in results)

    return compute


def _widened(span: Span, reach_px: int, length: int) -> Span:
    return Span(max(0, span.start - reach_px), min(length, span.stop + reach_px))


def _columns_of(source: FeatureMap, align_px: int) -> list[Span]:
    """Cut a map's width into parts that are about equal.

    What is left over beside the grid belongs to the last one: attention pads it from the window before.
    """
    width = source.shape[3]
    if width <= MOST_COLUMNS or (isinstance(source, Deferred) and source.spans_all_columns):
        return [Span(0, width)]
    columns = round_up(-(-width // -(-width // MOST_COLUMNS)), align_px)
    starts = range(0, width - align_px + 1, columns)
    return [
        Span(start, start + columns if start + columns + align_px <= width else width) for start in starts
    ]


def _part_of(source: FeatureMap, rows: Span, columns: Span) -> Tensor:
    if isinstance(source, Deferred):
        return source.block(rows, columns)
    return source[:, :, rows.start : rows.stop, columns.start : columns.stop]  # type: ignore[index, no-any-return]


def _reach_of(maps: tuple[FeatureMap, ...]) -> int:
    return max(one.reach_px if isinstance(one, Deferred) else 0 for one in maps)


def _empty_map(block: Tensor, height: int, width: int) -> Tensor:
    """Make a map for blocks: channels last, so that the rows of one picture lie together."""
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
            target[:, :, rows.start : rows.stop, columns.start : columns.stop] = block
