"""The runner interface, by which a network declares which of its steps are local and which pool.

A network's ``forward(low, run=WHOLE)`` passes each of its steps to the runner. ``WHOLE`` calls the steps
directly. Another runner may cut the picture into strips of rows, give each step the rows that it reads, and
gather the statistics of the whole picture. One ``forward`` therefore serves every way to run the network.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class FeatureMap(Protocol):
    """The interface of a feature map (N, C, H, W), which may be a tensor or rows still to be computed."""

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the values."""
        ...


class Runner(Protocol):
    """Runs the steps of a network over feature maps (N, C, H, W)."""

    def local(
        self,
        function: Callable[..., Tensor],
        *maps: FeatureMap,
        reach_px: int,
        align_px: int = 1,
        replaces: FeatureMap | None = None,
        keep: bool = True,
    ) -> FeatureMap:
        """Run a step in which each output row depends only on nearby rows of ``maps``.

        Args:
            function: Takes maps (N, C_i, H, W) and returns one map (N, C', rH, rW), for any H that
                ``align_px`` allows.
            maps: Inputs, all of the same height and width.
            reach_px: How many input rows above and below an output row the step reads.
            align_px: Side of the grid on which the step works, in pixels. Cuts must lie at multiples of it,
                counted from the top.
            replaces: A map of the result's shape that no later step reads; it may be one of ``maps``. The
                result may take its place in memory.
            keep: Whether to hold the result. False means that the result is read once, from top to bottom,
                or is cheap to compute again. A runner may hold it nevertheless.
        """
        ...

    def pair(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        *maps: FeatureMap,
        reach_px: int,
        replaces: tuple[FeatureMap | None, FeatureMap | None] = (None, None),
    ) -> tuple[FeatureMap, FeatureMap]:
        """Run a local step that makes two maps of the same size.

        Args:
            function: Takes maps (N, C_i, H, W) and returns two maps, (N, C', H, W) and (N, C'', H, W).
            maps: As for ``local``.
            reach_px: As for ``local``.
            replaces: For each result, a map of its shape, whose place in memory the result may take.
        """
        ...

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> FeatureMap:
        """Run a last step in which each output row may depend on any row of the map.

        Args:
            function: Takes the whole map (N, C, H, W), the first row to compute and the row after the last
                one; returns (N, C', r rows, rW).
            features: The map.
        """
        ...

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Compute statistics of the whole picture.

        Args:
            accumulate: Takes some rows (N, C, h, W) and the index of the first row; returns what these rows
                add to the total.
            finish: Takes the total and returns the statistics.
            features: The map, (N, C, H, W).
        """
        ...


class Whole:
    """The plain runner: every step gets the whole picture at once, as a tensor."""

    def local(
        self,
        function: Callable[..., Tensor],
        *maps: FeatureMap,
        reach_px: int,
        align_px: int = 1,
        replaces: FeatureMap | None = None,
        keep: bool = True,
    ) -> Tensor:
        """Call ``function`` on the maps as they are."""
        return function(*maps)

    def pair(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        *maps: FeatureMap,
        reach_px: int,
        replaces: tuple[FeatureMap | None, FeatureMap | None] = (None, None),
    ) -> tuple[Tensor, Tensor]:
        """Call ``function`` on the maps as they are."""
        return function(*maps)

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> Tensor:
        """Compute all rows at once."""
        return function(features, 0, features.shape[2])  # type: ignore[arg-type]

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Accumulate all rows at once."""
        return finish(accumulate(features, 0))  # type: ignore[arg-type]


WHOLE = Whole()
