import pytest

from esc_cli.jobs.events import Done, Failed, Planned, Progressed, Skipped, Started
from esc_cli.jobs.progress import SPEED_OVER_S, RunProgress


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def planned(name: str, height: int = 1000, width: int = 1000, frames: int = 1) -> Planned:
    return Planned(name, name, "PNG", height, width, 2 * height, 2 * width, frames, (), "esc", None)


def done(name: str) -> Done:
    return Done(name, name, 1, 1, 1.0, (), (), None, None)


def test_one_picture(clock: Clock) -> None:
    run = RunProgress(clock)
    run(planned("a.png"))
    run(Started("a.png", 1, 1))
    standing = run.of("a.png")
    assert standing is not None
    assert (standing.px_per_second, standing.left_s, standing.share) == (None, None, 0)
    clock.now += 10
    run(Progressed("a.png", 500_000, 2_000_000))  # two passes or planes: a quarter of the work
    standing = run.of("a.png")
    assert standing is not None
    assert standing.done_px == 250_000
    assert standing.px_per_second == 25_000
    assert standing.left_s == 30
    clock.now += 4  # without another event, the time left goes on
    standing = run.of("a.png")
    assert standing is not None
    assert standing.left_s == 26
    clock.now += 100
    standing = run.of("a.png")
    assert standing is not None
    assert standing.left_s == 0


def test_several_pictures(clock: Clock) -> None:
    run = RunProgress(clock)
    for name in ("a.png", "b.png", "c.png", "d.png"):
        run(planned(name))
    run(Started("a.png", 1, 4))
    clock.now += 10
    run(Progressed("a.png", 2_000_000, 2_000_000))
    run(Started("b.png", 2, 4))
    clock.now += 10
    run(done("a.png"))  # which was written meanwhile
    run(Progressed("b.png", 1_000_000, 2_000_000))
    everything = run.of_all()
    assert (run.current, run.number, run.total, run.finished) == ("b.png", 2, 4, 1)
    assert (everything.done_px, everything.total_px) == (1_500_000, 4_000_000)
    assert everything.px_per_second == 75_000
    assert everything.left_s == pytest.approx(2_500_000 / 75_000)
    assert everything.files_per_second == 1 / 20


def test_what_fails_or_is_skipped_is_no_work_that_was_done(clock: Clock) -> None:
    run = RunProgress(clock)
    for name in ("a.png", "b.png", "c.png", "d.png"):
        run(planned(name))
    run(Started("a.png", 1, 4))
    clock.now += 10
    run(done("a.png"))
    run(Failed("b.png", "damaged", None, 3))
    run(Failed("b.png", "damaged", None, 3))
    run(Skipped("c.png", "c.png", "up to date"))
    run(Skipped("never planned.png", "x.png", "up to date"))
    everything = run.of_all()
    assert run.finished == 3
    assert everything.px_per_second == 100_000
    assert everything.left_s == 10
    assert everything.files_per_second == 1 / 10


def test_frames_of_an_earlier_run_do_not_count_as_fast(clock: Clock) -> None:
    run = RunProgress(clock)
    run(planned("clip.mp4", 100, 100, 100))
    run(Started("clip.mp4", 1, 1))
    clock.now += 2
    run(Progressed("clip.mp4", 510_000, 1_000_000, 1.0))
    clock.now += 8
    run(Progressed("clip.mp4", 610_000, 1_000_000, 1.25))
    standing = run.of("clip.mp4")
    assert standing is not None
    assert standing.share == 0.61
    assert standing.px_per_second == pytest.approx(10_000)
    assert standing.left_s == pytest.approx(39)
    assert standing.frames_per_second == 1.25


def test_of_a_preview_only_the_parts_are_work(clock: Clock) -> None:
    run = RunProgress(clock)
    run(planned("a.png"))
    run(Started("a.png", 1, 1))
    clock.now += 1
    run(Progressed("a.png", 10_000, 40_000))
    assert run.of_all().px_per_second == 10_000
    assert run.of_all().left_s == 3


def test_the_speed_is_that_of_the_last_minutes(clock: Clock) -> None:
    run = RunProgress(clock)
    run(planned("a.png"))
    run(Started("a.png", 1, 1))
    clock.now += 1
    run(Progressed("a.png", 500_000, 1_000_000))
    for _ in range(20):
        clock.now += SPEED_OVER_S / 10
        before = run.of_all().done_px
        run(Progressed("a.png", int(before) + 1000, 1_000_000))
    assert run.of_all().px_per_second == pytest.approx(1000 / (SPEED_OVER_S / 10), rel=0.2)
