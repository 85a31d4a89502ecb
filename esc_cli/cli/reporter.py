"""Report the events of a run while it goes on: as messages and progress bars, or as JSON lines."""

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.text import Text

from esc_cli.cli.bars import Bars, speed
from esc_cli.cli.durations import duration
from esc_cli.cli.log_file import LogFile
from esc_cli.cli.output import answer, print_event, printable, say_error, stderr_console
from esc_cli.jobs.events import (
    Done,
    Engine,
    Estimate,
    Event,
    Failed,
    Planned,
    Progressed,
    Skipped,
    Started,
    Summary,
    Watching,
    WorkerLost,
    Workers,
    size_text,
)
from esc_cli.jobs.progress import RunProgress
from esc_cli.jobs.streams import STDIN, STDOUT

LINE_EVERY_S = 60
"""Seconds between the lines about the progress of one input, which stand for the bars of a terminal."""


class Reporter:
    """Prints the events of a run, as JSON lines on stdout or as messages on stderr.

    Args:
        json: Whether to write JSON lines.
        quiet: Whether to print only errors.
        verbose: Whether to print details.
        dry_run: Whether the plan is the answer of the command, which is printed on stdout.
        log: Also receives all events, and all messages even if they are not printed.
    """

    def __init__(self, *, json: bool, quiet: bool, verbose: bool, dry_run: bool, log: LogFile) -> None:
        self._json = json
        self._log = log
        self._talks = not (quiet or json)
        self._verbose = verbose
        self._unsaid: str | None = None
        self._planned = 0
        self._losses: Counter[str] = Counter()
        self._said: set[str] = set()
        self._dry_run = dry_run
        self._console = stderr_console()
        self._progress = RunProgress()
        self._lines = _ProgressLines(self._progress)
        self._bars = Bars(self._console, self._progress, visible=self._talks and not dry_run)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, event: Event) -> None:
        """Print one event."""
        self._pass_on(event)
        if not isinstance(event, Planned | Skipped | Failed):
            self._say_losses()
        match event:
            case Failed():
                say_error(_failed_line(event), event.hint)
                self._record(_failed_line(event), *([event.hint] if event.hint else []))
            case Started() | Progressed():
                self._say_progress(event)
            case Planned() if self._dry_run and not self._json:
                answer(_planned_line(event))
            case Planned():
                self._plan(event)
            case Done():
                notes = [note for note in event.notes if note not in self._said]
                self._say(_done_line(event), *_done_details(event, notes, verbose=self._verbose))
            case Skipped():
                self._skip(event)
            case Engine() | Estimate() | Workers() | WorkerLost():
                self._say(*_lines_about_the_run(event, verbose=self._verbose))
            case Watching():
                self._say_watching(event)
            case Summary() if _counted(event) > 1:
                self._say(_summary_line(event), *_failure_lines(event))
            case Summary() if event.skipped and self._unsaid is not None:
                self._say(self._unsaid)

    def _pass_on(self, event: Event) -> None:
        self._progress(event)
        self._bars(event)
        self._log.event(event)
        if self._json:
            print_event(event)

    def _plan(self, event: Planned) -> None:
        if self._verbose:
            self._say(_planned_line(event))
        else:
            self._planned += 1
            self._losses.update(event.lost)

    def _say_losses(self) -> None:
        """Print once, before the work, what the results cannot keep."""
        for loss, files in self._losses.items():
            self._say(f"note: {loss}" + (f" ({files} of {self._planned} files)" if self._planned > 1 else ""))
        self._said |= self._losses.keys()
        self._losses.clear()

    def _skip(self, event: Skipped) -> None:
        """Print which result already exists, but not each of thousands that are up to date."""
        if event.reason != "up to date":
            self._say(f"{event.input}: skipped, {event.output} already exists")
        elif self._verbose:
            self._say(_up_to_date_line(event))
        else:
            self._unsaid = _up_to_date_line(event)

    def _say_watching(self, event: Watching) -> None:
        line = f"watching {', '.join(event.folders)}; end with Ctrl-C"
        if line not in self._said:  # once is enough
            self._said.add(line)
            self._say(line)

    def note(self, sentence: str | None) -> None:
        """Print a note about the whole run, if there is one."""
        if sentence is not None:
            self._say(f"note: {sentence}")

    def _say_progress(self, event: Started | Progressed) -> None:
        """Print the progress of long work in lines, where there are no bars."""
        line = self._lines(event)
        if line is None:
            return
        self._record(line)
        if self._talks and not self._console.is_terminal:
            self._print(line)

    def _say(self, *lines: str) -> None:
        """Print lines on stderr, unless ``quiet`` or ``json`` is set. The log has them in any case."""
        self._record(*lines)
        if self._talks:
            self._print(*lines)

    def _print(self, *lines: str) -> None:
        for line in lines:
            self._console.print(Text(printable(line)))

    def _record(self, *lines: str) -> None:
        self._log.say(*map(printable, lines))


class _ProgressLines:
    """Makes a line about the progress of an input once in a while.

    Args:
        run: Follows the events of the run, and has each of them before the lines.
    """

    def __init__(self, run: RunProgress) -> None:
        self._run = run
        self._said = time.monotonic()

    def __call__(self, event: Started | Progressed) -> str | None:
        """Return the line for an event, or None if the last line is too recent."""
        now = time.monotonic()
        if isinstance(event, Started):
            self._said = now
        standing = self._run.of(event.input)
        if isinstance(event, Started) or event.done >= event.total or now - self._said < LINE_EVERY_S:
            return None
        if standing is None or standing.left_s is None:
            return None
        self._said = now
        frames = standing.frames_per_second
        pace = "" if frames is None else f", {speed(frames, 'frame')}"
        name = _spoken(event.input, "standard input")
        return f"{name}: {standing.share:.0%}{pace}, about {duration(standing.left_s)} left"


def _failed_line(event: Failed) -> str:
    is_named = event.input == STDIN or event.input in event.message
    return event.message if is_named else f"{event.input}: {event.message}"


def _planned_line(event: Planned) -> str:
    sizes = f"{event.width}x{event.height} → {event.output_width}x{event.output_height}"
    lost = "".join(f"; {sentence}" for sentence in event.lost)
    model = f", {event.model}: {event.model_reason}" if event.model_reason else ""
    return f"{_way(event)} ({sizes}, {event.format}{model}{lost})"


def _done_line(event: Done) -> str:
    size = f"{event.output_width}x{event.output_height}"
    model = f"{event.model}, " if event.model_reason else ""
    return f"{_way(event)} ({size}, {model}{event.seconds:.1f} s)"


def _done_details(event: Done, notes: Sequence[str], *, verbose: bool) -> list[str]:
    reasons = [f"{event.model}: {event.model_reason}"] if event.model_reason else []
    repeated = [_repeated(event)] if event.repeated else []
    ways = [*reasons, *event.ways, *repeated] if verbose else []
    return [*_preview_lines(event), *(f"  {way}" for way in ways), *(f"  note: {note}" for note in notes)]


def _preview_lines(event: Done) -> list[str]:
    """Return which parts a preview shows, as --preview takes them, and how long the whole would take."""
    if not event.parts:
        return []
    named = f"  part{'s' if len(event.parts) > 1 else ''} {' and '.join(event.parts)}"
    whole = event.whole_seconds
    return [named if whole is None else f"{named}; all of it would take about {duration(whole)}"]


def _repeated(event: Done) -> str:
    counted = _number(event.repeated, (event.several or "pictures").removesuffix("s"))
    if event.repeated == 1:
        return f"{counted} equals an earlier one, and was not computed again"
    return f"{counted} equal an earlier one, and were not computed again"


def _way(event: Planned | Done) -> str:
    return f"{_spoken(event.input, 'standard input')} → {_spoken(event.output, 'standard output')}"


def _spoken(name: str, stream: str) -> str:
    return stream if name in (STDIN, STDOUT) else name


def _lines_about_the_run(event: Engine | Estimate | Workers | WorkerLost, *, verbose: bool) -> list[str]:
    match event:
        case Engine():
            return _engine_lines(event, verbose=verbose)
        case Estimate():
            return _estimate_lines(event)
        case _:
            return [_worker_line(event)]


def _engine_lines(event: Engine, *, verbose: bool) -> list[str]:
    reasons = (
        f"  {event.device}: {event.device_reason}",
        f"  {event.precision}: {event.precision_reason}",
        f"  attention {event.attention}: {event.attention_reason}",
    )
    threads = (
        [] if event.threads is None else [f"  {_number(event.threads, 'thread')}: {event.threads_reason}"]
    )
    measured = (f"  {sentence}" for sentence in event.measured)
    return [event.in_words, *((*reasons, *threads, *measured) if verbose else ())]


def _estimate_lines(event: Estimate) -> list[str]:
    counts = [f"{event.files} to do"]
    counts += [f"{event.up_to_date} up to date"] if event.up_to_date else []
    counts += [f"{event.skipped} existing"] if event.skipped else []
    counts += [f"{event.failed} that cannot be processed"] if event.failed else []
    costs = [] if event.seconds is None else [duration(event.seconds)]
    costs += [size_text(event.disk_bytes)]
    about = f", about {' and '.join(costs)}" if event.files else ""
    return [f"{', '.join(counts)}{about}", *(f"warning: {sentence}" for sentence in event.warnings)]


def _worker_line(event: Workers | WorkerLost) -> str:
    if isinstance(event, WorkerLost):
        return f"{event.input}: the worker on {event.node} was lost, and the input is tried again"
    return f"{_number(event.workers, 'worker')} on {_number(len(event.nodes), 'machine')}"


def _number(count: int, thing: str) -> str:
    return f"{count} {thing}" + ("" if count == 1 else "s")


def _counted(event: Summary) -> int:
    return event.done + event.skipped + event.failed + event.not_begun + event.passed_over


def _failure_lines(event: Summary) -> list[str]:
    """List the failed inputs again if there are several, because their messages may have scrolled away."""
    if len(event.failures) < 2:
        return []
    return ["failed:", *(f"  {_spoken(name, 'standard input')}" for name in event.failures)]


def _up_to_date_line(event: Skipped) -> str:
    return f"{event.input}: {event.output} is up to date"


def _summary_line(event: Summary) -> str:
    counts = [f"{event.done} done"]
    counts += [f"{event.skipped} skipped"] if event.skipped else []
    counts += [f"{event.failed} failed"] if event.failed else []
    counts += [f"{event.not_begun} not started"] if event.not_begun else []
    counts += [f"{event.passed_over} ignored (not pictures, or already results)"] if event.passed_over else []
    return f"{', '.join(counts)} in {event.seconds:.1f} s"
