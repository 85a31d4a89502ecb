"""What a terminal shows of a run, at several widths. Rich draws into memory, and only the clock is replaced.

``ESC_RENEW_BARS=1 pytest tests/cli/test_bars.py`` renews the stored text.
"""

import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from rich.console import Console

from esc_cli.cli.bars import Bars
from esc_cli.jobs.events import Done, Event, Failed, Planned, Progressed, Started, Workers
from esc_cli.jobs.progress import RunProgress

STORED = Path(__file__).with_name("bars.txt")
WIDTHS = (60, 80, 120)

Step = tuple[float, Event | str]
"""The seconds after which an event comes, or a text that names the moment that is looked at."""


def planned(name: str, height: int, width: int, frames: int = 1) -> Planned:
    return Planned(name, f"out/{name}", "PNG", height, width, 2 * height, 2 * width, frames, (), "esc", None)


def done(name: str) -> Done:
    return Done(name, f"out/{name}", 1, 1, 1.0, (), (), None, None)


ONE: Sequence[Step] = (
    (0, planned("photo.jpg", 3000, 4000)),
    (0, Started("photo.jpg", 1, 1)),
    (0, "begun"),
    (9, Progressed("photo.jpg", 600_000, 12_000_000)),
    (0, "after some strips"),
    (42, "later, with no further strip"),
    (200, Progressed("photo.jpg", 11_999_000, 12_000_000)),
    (0, "nearly done"),
)
SEVERAL: Sequence[Step] = (
    *((0, planned(f"holiday/a picture with a long name, the {n} of many.jpg", 600, 800)) for n in range(12)),
    (0, Started("holiday/a picture with a long name, the 0 of many.jpg", 1, 12)),
    (4, Progressed("holiday/a picture with a long name, the 0 of many.jpg", 480_000, 480_000)),
    (1, done("holiday/a picture with a long name, the 0 of many.jpg")),
    (0, Failed("holiday/a picture with a long name, the 1 of many.jpg", "damaged", None, 3)),
    (0, Started("holiday/a picture with a long name, the 2 of many.jpg", 3, 12)),
    (2, Progressed("holiday/a picture with a long name, the 2 of many.jpg", 240_000, 480_000)),
    (0, "one done, one failed"),
)
CLIP: Sequence[Step] = (
    (0, planned("clip.mp4", 480, 640, 5000)),
    (0, Started("clip.mp4", 1, 1)),
    (5, Progressed("clip.mp4", 480 * 640 * 100, 480 * 640 * 5000, 12.34)),
    (5, Progressed("clip.mp4", 480 * 640 * 160, 480 * 640 * 5000, 12.34)),
    (0, "of a clip"),
)
CLUSTER: Sequence[Step] = (
    *((0, planned(f"{n}.png", 600, 800)) for n in range(40)),
    (0, Workers(8, ("one", "two"))),
    (0, Started("0.png", 1, 40)),
    (0, Started("1.png", 2, 40)),
    (3, Progressed("0.png", 480_000, 480_000)),
    (1, done("0.png")),
    (0, "with workers"),
)
TINY: Sequence[Step] = (
    *((0, planned(f"{n}.png", 12, 8)) for n in range(2)),
    (0, Started("0.png", 1, 2)),
    (0.01, Progressed("0.png", 96, 96)),
    (0, done("0.png")),
    (0, Started("1.png", 2, 2)),
    (0, "tiny pictures"),
)
RUNS = {"one picture": ONE, "a folder": SEVERAL, "a clip": CLIP, "a cluster": CLUSTER, "tiny": TINY}


def shown(steps: Sequence[Step], width: int) -> Iterator[tuple[str, list[str]]]:
    """Yield each moment that is looked at, with the lines of the terminal."""
    now = [1000.0]
    console = Console(
        file=io.StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False
    )
    run = RunProgress(lambda: now[0])
    bars = Bars(console, run, visible=True)
    for seconds, what in steps:
        now[0] += seconds
        if isinstance(what, str):
            yield what, _lines(console, bars)
        else:
            run(what)
            bars(what)


def _lines(console: Console, bars: Bars) -> list[str]:
    with console.capture() as capture:
        console.print(bars.display())
    return [line.rstrip() for line in capture.get().splitlines()]


def text() -> str:
    parts = []
    for width in WIDTHS:
        for run, steps in RUNS.items():
            for moment, lines in shown(steps, width):
                assert all(len(line) <= width for line in lines), (width, run, lines)
                parts += [f"{width} columns, {run}, {moment}:", *lines, ""]
    return "\n".join(parts)


def test_the_bars_are_these_at_60_80_and_120_columns() -> None:
    made = text()
    if os.environ.get("ESC_RENEW_BARS"):
        STORED.write_text(made, encoding="utf-8")
    assert made == STORED.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", WIDTHS)
def test_each_input_has_one_line(width: int) -> None:
    """A line that wraps would scroll the terminal at each refresh."""
    for steps in RUNS.values():
        for _, lines in shown(steps, width):
            assert len(lines) <= 2
            assert not any("…" in line.rpartition("%")[2] for line in lines)
