from collections.abc import Iterator

import pytest

from esc_cli.errors import DeviceError
from esc_cli.evaluation.benchmark.timing import Run, Timing, measure


def recorder(log: list[str], name: str) -> Run:
    return lambda: log.append(name)


def timings(found: list[Timing | Exception]) -> list[Timing]:
    return [timing for timing in found if isinstance(timing, Timing)]


def test_everybody_runs_once_in_each_round() -> None:
    log: list[str] = []
    found = measure([recorder(log, name) for name in "abc"], warm_up=1, rounds=3)
    assert "".join(log) == "abc" * 4
    assert [len(timing.rounds_s) for timing in timings(found)] == [3, 3, 3]


def test_warm_up_and_what_comes_between_are_not_counted() -> None:
    now = 0.0
    takes: dict[str, Iterator[float]] = {"a": iter([100, 1, 2, 9]), "b": iter([200, 10, 20, 30])}

    def run(name: str) -> Run:
        def advance() -> None:
            nonlocal now
            now += next(takes[name])

        return advance

    def pause() -> None:
        nonlocal now
        now += 1000

    found = measure([run("a"), run("b")], warm_up=1, rounds=3, clock=lambda: now, finished_run=pause)
    assert [timing.rounds_s for timing in timings(found)] == [(1, 2, 9), (10, 20, 30)]


def test_who_fails_is_left_out_and_the_others_go_on() -> None:
    log: list[str] = []

    def fail_the_second_time() -> None:
        log.append("f")
        if log.count("f") == 2:
            raise DeviceError("out of luck")

    found = measure([fail_the_second_time, recorder(log, "a")], warm_up=1, rounds=3)
    assert "".join(log) == "fafaaa"
    assert isinstance(found[0], DeviceError)
    assert len(timings(found)[0].rounds_s) == 3


def test_figures() -> None:
    timing = Timing((4.0, 1.0, 3.0, 2.0, 10.0))
    assert timing.median_s == 3.0
    assert timing.quartiles_s == (2.0, 4.0)
    # The ratios, round by round, are 4, 1/2, 3, 1, 2. The ratio of the medians would be 3 / 1.
    assert timing.multiple_of(Timing((1.0, 2.0, 1.0, 2.0, 5.0))) == 2.0
    assert Timing((7.0,)).quartiles_s == (7.0, 7.0)


def test_rounds_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Timing((1.0, 2.0)).multiple_of(Timing((1.0,)))
