"""Progress bars on a terminal: one for the current input and, if there are several, one for all."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TaskProgressColumn, TextColumn
from rich.table import Column
from rich.text import Text

from esc_cli.cli.durations import duration
from esc_cli.cli.output import printable
from esc_cli.jobs.events import Event, Planned, Progressed, Started, Watching, Workers
from esc_cli.jobs.progress import RunProgress, Standing

NARROW_COLUMNS, WIDE_COLUMNS = 72, 100
"""Width of a terminal from which speeds are shown beside a bar, and from which everything is."""

_MEGAPIXELS_FROM_PX = 10**6
"""Pixels from which the finished megapixels are counted, which shows the strips of a large picture."""


class Bars:
    """Progress bars for the current input and, if there are several, for all; only on a terminal.

    With the workers of a cluster, several inputs are current, and only the bar for all is shown.

    Args:
        console: The console for messages.
        visible: Whether bars are shown at all.
        run: Follows the events of the run, and has each of them before the bars.
    """

    def __init__(self, console: Console, run: RunProgress, *, visible: bool) -> None:
        self._run = run
        name_columns, bar_columns = _layout(console.width)
        name = Column(no_wrap=True, max_width=name_columns)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=name),
            BarColumn(bar_columns),
            TaskProgressColumn(),
            _StandingColumn(console.width),
            console=console,
            transient=True,
            redirect_stdout=False,  # stdout is for answers, not for messages
            disable=not (visible and console.is_terminal),
        )
        self.start, self.stop = self._progress.start, self._progress.stop
        self._workers = 0
        self._all: TaskID | None = None
        self._current: TaskID | None = None

    def display(self) -> RenderableType:
        """Return what the bars look like now."""
        return self._progress.get_renderable()

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case Workers():
                self._workers = event.workers
            case Watching() if self._current is not None:
                self._progress.remove_task(self._current)
                self._current = None
            case Started():
                self._start(event)
        if not isinstance(event, Planned):
            self._update(event)

    def _start(self, event: Started) -> None:
        if self._current is not None:
            self._progress.remove_task(self._current)
            self._current = None
        if event.total > 1 and self._all is None:
            self._all = self._progress.add_task("", standing=self._run.of_all)
        if not self._workers or event.total == 1:
            name = printable(Path(event.input).name)
            self._current = self._progress.add_task(
                name, total=None, standing=lambda: self._run.of(event.input)
            )

    def _update(self, event: Event) -> None:
        if self._all is not None:
            standing = self._run.of_all()
            self._progress.update(
                self._all,
                completed=standing.done_px,
                total=standing.total_px,
                description=self._counted(),
            )
        if self._current is not None and isinstance(event, Progressed):
            self._progress.update(self._current, completed=event.done, total=event.total)

    def _counted(self) -> str:
        run = self._run
        if self._workers:
            return f"{run.finished} of {run.total}, {self._workers} workers"
        return f"file {run.number} of {run.total}"


class _StandingColumn(ProgressColumn):
    """Says how fast the work is and how long it still takes, as far as there is room.

    Args:
        columns: Width of the terminal.
    """

    def __init__(self, columns: int) -> None:
        super().__init__(Column(no_wrap=True))
        self._columns = columns

    def render(self, task: Task) -> Text:
        """Return the text for a bar."""
        standing: Callable[[], Standing | None] = task.fields["standing"]
        now = standing()
        return Text("" if now is None else standing_text(now, self._columns))


def standing_text(standing: Standing, columns: int) -> str:
    """Return how far work is, how fast, and how long it still takes, as far as a terminal has room."""
    left = [] if standing.left_s is None else [f"{duration(standing.left_s)} left"]
    if columns < NARROW_COLUMNS:
        return "".join(left)
    speeds = [] if standing.px_per_second is None else [f"{_megapixels(standing.px_per_second)} MP/s"]
    if standing.frames_per_second:
        speeds = [speed(standing.frames_per_second, "frame")]
    files = [speed(standing.files_per_second, "file")] if standing.files_per_second else []
    is_counted = columns >= WIDE_COLUMNS and standing.total_px >= _MEGAPIXELS_FROM_PX
    counted = [f"{_megapixels(standing.done_px)} of {_megapixels(standing.total_px)} MP"]
    counted = counted if is_counted and not standing.frames_per_second else []
    return ", ".join((*counted, *files, *speeds, *left))


def _layout(columns: int) -> tuple[int, int]:
    """Return the columns for the name and for the bar that leave enough for the text after them."""
    if columns < NARROW_COLUMNS:
        return 20, 16
    return (20, 10) if columns < WIDE_COLUMNS else (36, 20)


def speed(per_second: float, thing: str) -> str:
    """Format a speed in things per second, or in seconds per thing below one per second."""
    return f"{per_second:.1f} {thing}s/s" if per_second >= 1 else f"{1 / per_second:.1f} s/{thing}"


def _megapixels(pixels: float) -> str:
    """Format pixels in megapixels, with about two digits."""
    value = pixels / 10**6
    decimals = 0 if value >= 10 or not value else 1 if value >= 1 else 2 if value >= 0.1 else 3
    return f"{max(value, 0.001 if value else 0):.{decimals}f}"
