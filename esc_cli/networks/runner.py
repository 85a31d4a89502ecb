"""How a network says what is local and what is pooled, so that one forward serves every way of running it.

A network's ``forward(low, run=WHOLE)`` hands each of its steps to the runner. ``WHOLE`` calls straight
through; another runner may cut the picture into strips of rows, give each step the rows that it reaches
for, and gather what is pooled over the whole picture, without a second description of the network.
"""

from collections.abc import Callable
from typing import Protocol

from torch import Tensor


class Runner(Protocol):
    """Runs the steps of a network over feature maps (N, C, H, W)."""

    def local(
        self, function: Callable[..., Tensor], *maps: Tensor, reach_px: int | None, align_px: int = 1
    ) -> Tensor:
        """Run a step whose output at a row depends on nearby rows of ``maps`` only.

        Args:
            function: Maps (N, C_i, H, W) to one map (N, C', rH, rW), for any H that keeps to ``align_px``.
            maps: Inputs of one and the same height and width.
            reach_px: How many input rows above and below an output row the step reads; None: all of them.
            align_px: The step works on a grid: cuts must lie on multiples of this (from the top).
        """
        ...

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: Tensor,
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
    """The plain way: every step sees the whole picture at once."""

    def local(
        self, function: Callable[..., Tensor], *maps: Tensor, reach_px: int | None, align_px: int = 1
    ) -> Tensor:
        """Call ``function`` on the maps as they are."""
        return function(*maps)

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: Tensor,
    ) -> Tensor:
        """Accumulate all rows at once."""
        return finish(accumulate(features, 0))


WHOLE = Whole()
