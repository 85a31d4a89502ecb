"""Keep everything that happens in a run in a file."""

import json
import os
import re
import time
from dataclasses import asdict
from datetime import datetime
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from esc_cli.cli.guard import ending_of, last_event
from esc_cli.cli.output import printable, say_error
from esc_cli.errors import OutputError, UsageError
from esc_cli.jobs.events import VERSION, Event, Progressed
from esc_cli.storage.whole_files import output_error

_LINE = re.compile(rb'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|\{"version": ')
"""The beginning of a log. Another file with content is not touched: it may be a picture."""

_PROGRESS_EVERY_S = 1.0


class LogFile:
    """A file with the messages or, if its name ends in ``.jsonl``, the events of a run, with their times.

    It is a context manager, which also keeps the error that ends the run. Each line is written at once.

    Args:
        path: The file, which is created or appended to. None means that nothing is kept.

    Raises:
        UsageError: The name is empty, or is that of a picture or clip.
        OutputError: The file cannot be opened, or is not a log.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self._holds_events = path is not None and path.lower().endswith(".jsonl")
        self._progress_at = -_PROGRESS_EVERY_S
        self._file: FileIO | None = None if path is None else _opened(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ending = None if error is None else ending_of(error)
        if error is not None and ending is not None and ending.message is not None:
            lines = [printable(line) for line in (ending.message, ending.hint) if line]
            self.say(*lines)
            self.event(last_event(error, ending.message, ending))
        if self._file is not None:
            self._file.close()

    def event(self, event: Event) -> None:
        """Keep an event, if the file is for events."""
        if isinstance(event, Progressed) and event.done < event.total:
            if time.monotonic() - self._progress_at < _PROGRESS_EVERY_S:
                return
            self._progress_at = time.monotonic()
        self._write_json(**asdict(event))

    def say(self, *lines: str) -> None:
        """Keep messages, if the file is for messages. Each line gets its time."""
        for line in () if self._holds_events else lines:
            self._write(f"{_now()} {line}")

    def _write_json(self, event: str, **fields: Any) -> None:
        if self._holds_events:
            self._write(json.dumps({"version": VERSION, "event": event, "time": _now(), **fields}))

    def _write(self, line: str) -> None:
        """Write a line. An error is said once, and does not end the work."""
        if self._file is None:
            return
        try:
            self._file.write(f"{line}\n".encode())
        except OSError as error:
            self._file.close()
            self._file = None
            problem = output_error(f"cannot write the log {self._path!r}", error)
            say_error(problem.message, "the work goes on without it")


def _opened(name: str) -> FileIO:
    """Open a log for appending.

    Raises:
        UsageError: The name is empty, or is that of a picture or clip, which a result could get, too.
        OutputError: The file cannot be opened, or is not a log.
    """
    from esc_cli.jobs.naming import names_format

    if not name:
        raise UsageError("the log has an empty name")
    path = Path(name)
    try:
        if path.is_file():
            with path.open("rb") as file:
                begin = file.read(40)
            if begin and not _LINE.match(begin):
                raise OutputError(f"{str(path)!r} exists and is not a log", hint="name another file")
        if names_format(name):
            raise UsageError(
                f"{name!r} is the name of a picture or clip, not of a log",
                hint="end the name with .log or .jsonl",
            )
        return open(path, "ab", buffering=0, opener=_at_once)
    except OSError as error:
        raise output_error(f"cannot write the log {str(path)!r}", error) from error


def _at_once(path: str, flags: int) -> int:
    """Open a file for the built-in function ``open``. A pipe that nobody reads is an error, and no wait.

    Source: POSIX, open(), O_NONBLOCK.
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0), 0o666)
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(descriptor, True)
    return descriptor


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
