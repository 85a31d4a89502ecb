"""Interleaved timing: each round runs everybody once, so that a noisy machine hits all alike."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from esc_cli.errors import EscError

Run = Callable[[], object]
"""Does the work once and returns when it is done, on whatever device."""


@dataclass(frozen=True)
class Timing:
    """What one candidate took in each round.

    Attributes:
        rounds_s: Seconds, in the order of the rounds.
    """

    rounds_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """The middle one."""
        return median(self.rounds_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """Between these lies the middle half."""
        if len(self.rounds_s) == 1:
            return self.rounds_s[0], self.rounds_s[0]
        first, _, third = quantiles(self.rounds_s, n=4, method="inclusive")
        return first, third

    def multiple_of(self, other: "Timing") -> float:
        """Give the median of this one's time by the other's, each taken in one and the same round."""
        return median(mine / its for mine, its in zip(self.rounds_s, other.rounds_s, strict=True))


def measure(
    candidates: Sequence[Run],
    *,
    warm_up: int,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    finished_run: Callable[[], None] = lambda: None,
) -> list[Timing | EscError]:
    """Time several ways of doing something, in turns.

    Args:
        candidates: What is timed.
        warm_up: Rounds that are not counted.
        rounds: Those that are, at least one.
        clock: Tells the time in seconds.
        finished_run: Called after each run, outside the timing.

    Returns:
        In the order of the candidates; for one that failed what it failed with. It is not run again, and the
        others go on.
    """
    taken: list[list[float]] = [[] for _ in candidates]
    failures: dict[int, EscError] = {}
    for _ in range(warm_up + rounds):
        for index, candidate in enumerate(candidates):
            if index in failures:
                finished_run()
                continue
            start = clock()
            try:
                candidate()
            except EscError as error:
                failures[index] = error
            taken[index].append(clock() - start)
            finished_run()
    return [
        failures[index] if index in failures else Timing(tuple(times[warm_up:]))
        for index, times in enumerate(taken)
    ]
