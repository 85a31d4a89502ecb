"""How a network says what is local and what is pooled, so that one forward serves every way of running it.

A network's ``forward(low, run=WHOLE)`` hands each of its steps to the runner. ``WHOLE`` calls straight
through; another runner may cut the picture into strips of rows, give each step the rows that it reaches
for, and gather what is pooled over the whole picture, without a second description of the network.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class FeatureMap(Protocol):
    """What a network may ask of a map (N, C, H, W): it may be a tensor, or rows still to be computed."""

    @property
    def shape(self) -> torch.Size:
        """(N, C, H, W)."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Of its numbers."""
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
        """Run a step whose output at a row depends on nearby rows of ``maps`` only.

        Args:
            function: Maps (N, C_i, H, W) to one map (N, C', rH, rW), for any H that keeps to ``align_px``.
            maps: Inputs of one and the same height and width.
            reach_px: How many input rows above and below an output row the step reads.
            align_px: The step works on a grid: cuts must lie on multiples of this (from the top).
            replaces: A map of the result's shape, one of ``maps`` or another, that no later step reads: the
                result may take its place in memory.
            keep: False: the result is read once, from top to bottom, or is cheap to make again, so that
                it need not be held.
        """
        ...

    def pair(
        self,
        function: Callable[..., tuple[Tensor, Tensor]],
        *maps: FeatureMap,
        reach_px: int,
        replaces: tuple[FeatureMap | None, FeatureMap | None] = (None, None),
    ) -> tuple[FeatureMap, FeatureMap]:
        """Run a step as ``local`` does that makes two maps, of one size.

        Args:
            function: Maps (N, C_i, H, W) to two maps (N, C', H, W) and (N, C'', H, W).
            maps: As for ``local``.
            reach_px: As for ``local``.
            replaces: For each result, a map of its shape whose place it may take.
        """
        ...

    def unbounded(self, function: Callable[[Tensor, int, int], Tensor], features: FeatureMap) -> FeatureMap:
        """Run a last step that may read any row of a map for each row of its output.

        Args:
            function: Takes the whole map (N, C, H, W), the first row to compute and the one after the last;
                gives (N, C', r rows, rW).
            features: The map.
        """
        ...

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: FeatureMap,
    ) -> Tensor:
        """Pool over the whole picture.

        Args:
            accumulate: Takes some rows (N, C, h, W) and the index of the first of them; gives what they
                add to the total.
            finish: Turns the total into the statistics.
            features: (N, C, H, W).
        """
        ...


class Whole:
    """The plain way: every step sees the whole picture at once, as a tensor."""

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
