"""What people and programs see: talk on stderr, results and JSON lines on stdout."""

import json
import sys
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from esc_cli.jobs.events import Done, Event, Failed, Planned, Progressed, Skipped, Started, Summary, as_json


def stderr_console() -> Console:
    """Make the console for talk; it is made when needed, so that a redirected stderr is seen."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(value: Any) -> None:
    """Print one JSON value on one line of stdout."""
    print(json.dumps(value, ensure_ascii=False), file=sys.stdout, flush=True)  # noqa: T201


class Reporter:
    """Listens to a run. With ``json`` every event is a line on stdout; else people read stderr."""

    def __init__(self, *, json: bool, quiet: bool, show_plan: bool = False) -> None:
        self._json = json
        self._quiet = quiet
        self._show_plan = show_plan
        self._console = stderr_console()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=quiet or json or not self._console.is_terminal,
        )
        self._all: TaskID | None = None
        self._picture: TaskID | None = None

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if self._json:
            print(as_json(event), file=sys.stdout, flush=True)  # noqa: T201
        match event:
            case Started():
                self._start(event)
            case Progressed() if self._picture is not None:
                self._progress.update(self._picture, completed=event.done, total=event.total)
            case Failed():
                self._say_failed(event)
            case _:
                self._say(event)

    def say(self, text: str) -> None:
        """Tell people something, unless they want quiet or read JSON."""
        if not (self._quiet or self._json):
            self._console.print(escape(text))

    def _say_failed(self, event: Failed) -> None:
        """Tell of a failure; neither quiet nor JSON silences it."""
        hint = f" ({event.hint})" if event.hint else ""
        self._console.print(f"[red]failed[/red] {escape(event.input)}: {escape(event.message + hint)}")

    def _start(self, event: Started) -> None:
        if self._picture is not None:
            self._progress.remove_task(self._picture)
        if event.total > 1 and self._all is None:
            self._all = self._progress.add_task("all pictures", total=event.total)
        if self._all is not None:
            self._progress.update(self._all, completed=event.number - 1)
        self._picture = self._progress.add_task(event.input, total=None)

    def _say(self, event: Event) -> None:
        match event:
            case Planned() if self._show_plan:
                self.say(_planned_line(event))
            case Done():
                size = f"{event.output_width}x{event.output_height}"
                self.say(f"{event.input} → {event.output} ({size}, {event.seconds:.1f} s)")
                for note in event.notes:
                    self.say(f"  note: {note}")
            case Skipped():
                self.say(f"{event.input}: skipped, {event.output} is there already")
            case Summary() if event.done + event.skipped + event.failed + event.passed_over > 1:
                self.say(_summary(event))
            case _:
                pass


def _planned_line(event: Planned) -> str:
    sizes = f"{event.width}x{event.height} → {event.output_width}x{event.output_height}"
    lost = "".join(f"; {sentence}" for sentence in event.lost)
    return f"{event.input} → {event.output} ({sizes}, {event.format}{lost})"


def _summary(event: Summary) -> str:
    counts = [f"{event.done} done"]
    counts += [f"{event.skipped} skipped"] if event.skipped else []
    counts += [f"{event.failed} failed"] if event.failed else []
    counts += [f"{event.passed_over} passed over (no pictures)"] if event.passed_over else []
    return f"{', '.join(counts)} in {event.seconds:.1f} s"
