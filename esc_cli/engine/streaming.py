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

from esc_cli.engine.memory import release_reserve
from esc_cli.engine.tiles import Span, round_up
from esc_cli.networks.runner import FeatureMap, Whole

EmitRows = Callable[[Span, Tensor], None]
"""Takes finished rows: where they lie at low resolution, and the block (N, C, s rows, s W)."""

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


Strip = tuple[Tensor, ...]
"""The same rows of each map that a step makes, (N, C, r rows, r W)."""

ComputeStrip = Callable[[int, int], Strip]
"""Takes the first row and the one after the last, at the resolution of the step's input."""


@dataclass(frozen=True)
class Deferred:
    """A map whose rows are computed when they are needed.

    Attributes:
        rows: From the first row and the one after the last to those rows of the map, (N, C, r rows, r W).
        shape: (N, C, H, W) of its first source.
        dtype: Of its numbers.
        reach_px: How many rows above and below a row are read of maps that lie in memory.
    """

    rows: Callable[[int, int], Tensor]
    shape: torch.Size
    dtype: torch.dtype
    reach_px: int = 0


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
        """Run a step strip by strip, or, if its result is not kept, when the rows are asked for."""
        rows = self._strip_of(lambda *strips: (function(*strips),), maps, reach_px)
        reach_px += _reach_of(maps)
        if not keep:
            first = maps[0]
            return Deferred(lambda start, stop: rows(start, stop)[0], first.shape, first.dtype, reach_px)
        (stored,) = self._stored(
            rows, maps[0].shape[2], (replaces,), self._height(reach_px, align_px), reach_px
        )
        return stored

    def pair(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        *maps: FeatureMap,
        reach_px: int,
        replaces: tuple[FeatureMap | None, FeatureMap | None],
    ) -> tuple[FeatureMap, FeatureMap]:
        """Run a step that makes two maps strip by strip."""
        rows = self._strip_of(function, maps, reach_px)
        reach_px += _reach_of(maps)
        first, second = self._stored(rows, maps[0].shape[2], replaces, self._height(reach_px), reach_px)
        return first, second

    def _strip_of(
        self, function: Callable[..., Strip], maps: tuple[FeatureMap, ...], reach_px: int
    ) -> ComputeStrip:
        """Give what computes rows of a step's results from the rows that it reads."""
        height = maps[0].shape[2]

        def rows(start: int, stop: int) -> Strip:
            top, bottom = max(0, start - reach_px), min(height, stop + reach_px)
            strips = [_rows_of(one, top, bottom) for one in maps]
            results = _by_columns(function, strips, reach_px, self.least_rows)
            scale = results[0].shape[2] // (bottom - top)
            inner = slice(scale * (start - top), scale * (stop - top))
            return tuple(result[:, :, inner] for result in results)

        return rows

    def _height(self, reach_px: int, align_px: int = 1) -> int:
        """Choose the rows of a step's strips."""
        return max(round_up(ROWS_PER_REACH * reach_px, align_px), self.least_rows)

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> Deferred:
        """Compute rows when they are asked for, from the whole map."""
        whole = _rows_of(features, 0, features.shape[2])
        return Deferred(lambda start, stop: function(whole, start, stop), features.shape, features.dtype)

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Add up what the strips give."""
        starts = range(0, features.shape[2], self.least_rows)
        strips = (_rows_of(features, start, start + self.least_rows) for start in starts)
        parts = [accumulate(rows, start) for start, rows in zip(starts, strips, strict=True)]
        return finish(torch.stack(parts).sum(dim=0))

    def hand_out(self, result: FeatureMap, emit: EmitRows) -> None:
        """Compute the rows of a network's result and hand them out from top to bottom."""

        def rows(start: int, stop: int) -> Strip:
            return (_rows_of(result, start, stop),)

        for span, (block,) in self._strips(rows, result.shape[2], self.least_rows):
            emit(span, block)

    def _stored(
        self,
        rows: ComputeStrip,
        height: int,
        targets: tuple[FeatureMap | None, ...],
        strip_rows: int,
        reach_px: int,
    ) -> list[Tensor]:
        """Compute maps and hold them, each in its target if that is a map in memory; it may be a source.

        A strip is written when no other one to come reads the rows that it replaces.
        """
        held: list[Tensor] = []
        pending: deque[tuple[Span, Strip]] = deque()
        for span, strip in self._strips(rows, height, strip_rows):
            held = held or [
                target if isinstance(target, Tensor) else _empty_map(part, height)
                for target, part in zip(targets, strip, strict=True)
            ]
            pending.append((span, strip))
            while pending and (span.stop == height or pending[0][0].stop <= span.stop - reach_px):
                _write(held, *pending.popleft())
        return held

    def _strips(self, rows: ComputeStrip, height: int, strip_rows: int) -> Iterator[tuple[Span, Strip]]:
        start = 0
        while start < height:
            stop = min(height, start + min(strip_rows, self.most_rows))
            strip = self._attempt(rows, start, stop)
            if strip is not None:
                yield Span(start, stop), strip
                self._tick((stop - start) / height)
                start = stop

    def _attempt(self, rows: ComputeStrip, start: int, stop: int) -> Strip | None:
        """Compute a strip; None if memory runs out, and then strips are lower from now on."""
        try:
            with self._guard():
                return rows(start, stop)
        except torch.OutOfMemoryError:
            if stop - start <= self.least_rows:
                raise
        # Not in the handler: until it ends, the error keeps the failed step's tensors alive.
        self.most_rows = round_up((stop - start) // 2, self.least_rows)
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


def _by_columns(function: Callable[..., Strip], strips: list[Tensor], reach_px: int, align_px: int) -> Strip:
    """Run a step on blocks that are about equally wide, each with the columns that it reaches for.

    What is left over beside the grid belongs to the last block: attention pads it from the window before.
    """
    width = strips[0].shape[3]
    if width <= MOST_COLUMNS:
        return function(*strips)
    columns = round_up(-(-width // -(-width // MOST_COLUMNS)), align_px)
    blocks = []
    for start in range(0, width - align_px + 1, columns):
        stop = start + columns if start + columns + align_px <= width else width
        left, right = max(0, start - reach_px), min(width, stop + reach_px)
        results = function(*(strip[..., left:right] for strip in strips))
        scale = results[0].shape[3] // (right - left)
        inner = slice(scale * (start - left), scale * (stop - left))
        blocks.append([result[..., inner] for result in results])
    return tuple(torch.cat(parts, dim=3) for parts in zip(*blocks, strict=True))


def _rows_of(source: FeatureMap, top: int, bottom: int) -> Tensor:
    if isinstance(source, Deferred):
        return source.rows(top, bottom)
    return source[:, :, top:bottom]  # type: ignore[index, no-any-return]


def _reach_of(maps: tuple[FeatureMap, ...]) -> int:
    return max(one.reach_px if isinstance(one, Deferred) else 0 for one in maps)


def _empty_map(strip: Tensor, height: int) -> Tensor:
    """Make a map for strips: channels last, so that the rows of one picture lie together."""
    n, channels, _, width = strip.shape
    return torch.empty(
        (n, channels, height, width),
        dtype=strip.dtype,
        device=strip.device,
        memory_format=torch.channels_last,
    )


def _write(targets: list[Tensor], span: Span, strips: Strip) -> None:
    for target, strip in zip(targets, strips, strict=True):
        target[:, :, span.start : span.stop] = strip
