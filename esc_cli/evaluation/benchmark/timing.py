"""Interleaved timing of several candidates.

Each round runs every candidate once, so that noise on the machine affects all of them equally.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

from esc_cli.errors import EscError

Run = Callable[[], object]
"""Function that does the work once, and returns when the device has finished it."""


@dataclass(frozen=True)
class Timing:
    """The times of one candidate.

    Attributes:
        rounds_s: Seconds in each round, in the order of the rounds.
    """

    rounds_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median of the rounds."""
        return median(self.rounds_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """First and third quartile of the rounds."""
        if len(self.rounds_s) == 1:
            return self.rounds_s[0], self.rounds_s[0]
        first, _, third = quantiles(self.rounds_s, n=4, method="inclusive")
        return first, third

    def multiple_of(self, other: "Timing") -> float:
        """Return the median over the rounds of this time divided by the other time in the same round."""
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
        candidates: Functions to time.
        warm_up: Number of rounds that are not counted.
        rounds: Number of rounds that are counted, at least one.
        clock: Function that returns the time in seconds.
        finished_run: Function that is called after each run, outside the timing.

    Returns:
        A timing for each candidate, in order. If a candidate fails, its error takes this place: the candidate
        is not run again, and the others continue.
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
