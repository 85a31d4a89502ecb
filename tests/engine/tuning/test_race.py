"""Ways are timed in turns, with a clock that the ways themselves move."""

import math
from collections.abc import Callable

import pytest

from esc_cli.engine.tuning.race import LEAST_ROUNDS, MOST_ROUNDS, Run, Timing, race


class Clock:
    """A clock that stands still unless something takes time. It notes who ran."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.ran: list[str] = []

    def __call__(self) -> float:
        return self.now_s

    def way(self, name: str, *runs_s: float, prepare_s: float = 0.0) -> Callable[[], Run]:
        """Return a way whose runs take these times, and then the last one again and again."""
        left = list(runs_s)

        def run() -> None:
            self.ran.append(name)
            self.now_s += left.pop(0) if len(left) > 1 else left[0]

        def prepare() -> Run:
            self.now_s += prepare_s
            return run

        return prepare


def test_ways_run_in_turns_after_their_warm_ups() -> None:
    clock = Clock()
    race({"a": clock.way("a", 1.0), "b": clock.way("b", 2.0)}, warm_ups=2, clock=clock, least_rounds=3)
    assert "".join(clock.ran) == "aabb" + "ab" * 3


def test_the_first_run_is_part_of_the_start() -> None:
    clock = Clock()
    result = race({"a": clock.way("a", 5.0, 1.0, 3.0, 2.0, prepare_s=4.0)}, clock=clock, least_rounds=3)
    assert result.timings["a"] == Timing(8.0, (1.0, 3.0, 2.0))
    assert result.timings["a"].run_s == 1.0


@pytest.mark.parametrize(("run_s", "rounds"), [(10.0, LEAST_ROUNDS), (0.0001, MOST_ROUNDS)])
def test_short_runs_are_repeated_more_often(run_s: float, rounds: int) -> None:
    clock = Clock()
    assert len(race({"a": clock.way("a", run_s)}, clock=clock).timings["a"].runs_s) == rounds


def test_a_run_that_is_too_short_to_measure_is_no_error() -> None:
    assert race({"a": Clock().way("a", 0.0)}, clock=lambda: 1.0).timings["a"].run_s > 0


def fails() -> Run:
    raise RuntimeError("no kernel\nand 100 lines more")


def fails_later(clock: Clock, at: int) -> Callable[[], Run]:
    def run() -> None:
        clock.ran.append("bad")
        if clock.ran.count("bad") >= at:
            raise ValueError

    return lambda: run


@pytest.mark.parametrize("at", [1, 2, 4])
def test_a_way_that_fails_is_left_out_and_the_others_go_on(at: int) -> None:
    clock = Clock()
    ways = {"broken": fails, "bad": fails_later(clock, at), "a": clock.way("a", 1.0)}
    result = race(ways, clock=clock, least_rounds=5)
    assert result.failed == {"broken": "no kernel", "bad": "ValueError"}
    assert result.timings == {"a": Timing(0.0, (1.0,) * 5)}
    assert clock.ran.count("bad") == at


@pytest.mark.parametrize(
    ("start_s", "runs_s"), [(math.nan, (1.0,)), (0.0, ()), (0.0, (1.0, 0.0)), (0.0, (math.inf,))]
)
def test_impossible_times_are_refused(start_s: float, runs_s: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="time"):
        Timing(start_s, runs_s)
