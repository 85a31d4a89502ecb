"""Time several ways to do the same work, so that noise affects all of them equally."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from esc_cli.errors import first_line

Run = Callable[[], object]
"""Does the work once, and returns when it is done."""

LEAST_ROUNDS, MOST_ROUNDS = 5, 9

BUDGET_S = 0.3
"""Time after which no further round begins, once there were ``LEAST_ROUNDS``."""

_SHORTEST_S = 1e-9
"""Time of a run that is shorter than the clock can tell."""


@dataclass(frozen=True)
class Timing:
    """The time that a way of doing the work takes.

    Attributes:
        start_s: Seconds of the preparation and the first run, beyond those of a later run.
        runs_s: Seconds of each further run. Runs of two ways with the same index were made one after the
            other, so what disturbed one has probably disturbed both.
    """

    start_s: float
    runs_s: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check the values, which may come from a file."""
        if not math.isfinite(self.start_s) or not self.runs_s:
            raise ValueError("there are no times")
        if not all(math.isfinite(run_s) and run_s > 0 for run_s in self.runs_s):
            raise ValueError("a time is not a positive number")

    @property
    def run_s(self) -> float:
        """Seconds of a run: the minimum, because whatever disturbs a run makes it longer."""
        return min(self.runs_s)


@dataclass(frozen=True)
class Race:
    """The result of a race.

    Attributes:
        timings: The time of each way, by its name.
        failed: The reason against each way that failed, by its name.
    """

    timings: Mapping[str, Timing]
    failed: Mapping[str, str]


def race(
    ways: Mapping[str, Callable[[], Run]],
    *,
    warm_ups: int = 1,
    clock: Callable[[], float] = time.perf_counter,
    least_rounds: int = LEAST_ROUNDS,
) -> Race:
    """Time ways in turns. A way that fails is left out.

    Args:
        ways: A function for each name that prepares the way and returns what runs it.
        warm_ups: Number of first runs that do not count, because they allocate memory or select kernels.
        clock: Returns seconds that only rise.
        least_rounds: Smallest number of runs of each way that count. More follow if they are short.
    """
    heats = [_Heat(name, clock) for name in ways]
    for heat in heats:
        heat.start(ways[heat.name], warm_ups)
    begun = clock()
    for number in range(MOST_ROUNDS):
        if number >= least_rounds and clock() - begun > BUDGET_S:
            break
        for heat in heats:
            heat.run()
    return Race(
        {heat.name: heat.timing(warm_ups) for heat in heats if heat.reason is None},
        {heat.name: heat.reason for heat in heats if heat.reason is not None},
    )


class _Heat:
    """The runs of one way.

    Attributes:
        name: Name of the way.
        reason: Reason why the way failed, or None.
    """

    def __init__(self, name: str, clock: Callable[[], float]) -> None:
        self.name = name
        self.reason: str | None = None
        self._clock = clock
        self._run: Run | None = None
        self._started_s = 0.0
        self._times_s: list[float] = []

    def start(self, prepare: Callable[[], Run], warm_ups: int) -> None:
        """Prepare the way, and run it a few times."""

        def work() -> None:
            self._run = prepare()
            for _ in range(warm_ups):
                self._run()

        self._started_s = self._timed(work)

    def run(self) -> None:
        """Run the way once, unless it failed."""
        if self._run is not None and self.reason is None:
            self._times_s.append(self._timed(self._run))

    def timing(self, warm_ups: int) -> Timing:
        """Return the time of the way, which must not have failed."""
        runs_s = tuple(max(run_s, _SHORTEST_S) for run_s in self._times_s)
        return Timing(max(0.0, self._started_s - warm_ups * min(runs_s)), runs_s)

    def _timed(self, work: Run) -> float:
        begun = self._clock()
        try:
            work()
        except Exception as error:  # noqa: BLE001 - each library fails in its own way
            self.reason = first_line(error) or type(error).__name__
        return self._clock() - begun
