"""The output of the program: answers and JSON lines on stdout; messages and errors on stderr."""

import math
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.text import Text

from esc_cli.jobs.events import Event, as_json, json_line
from esc_cli.jobs.streams import stdout_errors


class _MessageConsole(Console):
    """A console for messages. If they cannot be written, as on a full disk, the work goes on without them."""

    def print(self, *objects: Any, **options: Any) -> None:
        try:
            super().print(*objects, **options)
        except OSError:
            self.quiet = True

    def on_broken_pipe(self) -> None:
        """Drop all further messages. Rich would end the program, and redirect stdout."""
        self.quiet = True


def stderr_console() -> Console:
    """Make the console for messages. Make it only when it is needed, so that it sees a redirected stderr."""
    return _MessageConsole(stderr=True, highlight=False, soft_wrap=True, width=_width())


def stdout_console(*, soft_wrap: bool = False) -> Console:
    """Make the console for answers."""
    return Console(highlight=False, soft_wrap=soft_wrap, width=_width())


def _width() -> int | None:
    """Return the width of a console, or None if Rich finds it out.

    Programs that do not know the width of their terminal set COLUMNS to 0. Rich would take it as the width,
    and print nothing at all.
    """
    columns = os.environ.get("COLUMNS", "")
    return shutil.get_terminal_size().columns if columns and not columns.strip("0") else None


@contextmanager
def progress_bar(name: str, *, is_hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal, and yield the function that moves it: done, of how many.

    Args:
        name: The text before the bar.
        is_hidden: Whether nothing is shown.
    """
    console = stderr_console()
    with Progress(console=console, transient=True, disable=is_hidden or not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def answer(content: RenderableType) -> None:
    """Print the answer of a command on stdout.

    Raises:
        OutputError: stdout cannot be written to.
    """
    with stdout_errors():
        is_text = isinstance(content, str)
        console = stdout_console(soft_wrap=is_text)
        console.print(Text(printable(content)) if isinstance(content, str) else content)
        sys.stdout.flush()


def finite(number: float | None) -> float | None:
    """Return a number for JSON, which has no infinity: None for infinity and for no number."""
    return number if number is not None and math.isfinite(number) else None


def answer_json(event: str, **fields: Any) -> None:
    """Print one line of JSON on stdout.

    Raises:
        OutputError: stdout cannot be written to.
    """
    _print_line(json_line(event, **fields))


def say_error(message: str, hint: str | None = None) -> None:
    """Print an error message and its hint on stderr."""
    console = stderr_console()
    console.print(Text.assemble(("esc-upscale:", "red"), " ", printable(message)))
    if hint:
        console.print(Text(f"  {printable(hint)}"))


def say(message: str) -> None:
    """Print a message on stderr."""
    stderr_console().print(Text(printable(message)))


def printable(text: str) -> str:
    """Escape control characters and invalid bytes: file names may have them, and terminals obey them.

    Some of them change the direction of text, so that a name looks like another one.
    """
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]",
        lambda match: repr(match[0])[1:-1],
        text,
    )


def print_event(event: Event) -> None:
    """Print an event on stdout, as one line of JSON.

    Raises:
        OutputError: stdout cannot be written to.
    """
    _print_line(as_json(event))


def _print_line(line: str) -> None:
    with stdout_errors():
        print(line, file=sys.stdout, flush=True)  # noqa: T201
