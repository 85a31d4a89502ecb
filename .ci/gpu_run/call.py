"""One call on the lent machine: its clock, its stages, and the events they report.

Each stage is a process with a time limit.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, Timer
from typing import Any

from settings import ROOT, Settings

Event = dict[str, Any]

_LONGEST_STDERR = 20_000


@dataclass(frozen=True)
class Stage:
    """A part of a call.

    Attributes:
        name: Name of a function in ``stages.STAGES``.
        limit_s: Seconds after which the stage is killed.
        arguments: Arguments of the function.
        label: Name of the stage in the events; the function's name by default.
    """

    name: str
    limit_s: float
    arguments: tuple[str, ...] = ()
    label: str = ""


class Call:
    """A context that runs stages until its time is over, and prints their events as they arrive.

    Args:
        name: Name of the files with events and errors, without their extension.
        seconds: Time limit of the call.
        out: Folder that comes back from the machine.
        settings: Settings for the stages. Their time limits are multiplied by its ``patience``.
    """

    def __init__(self, name: str, seconds: float, out: Path, settings: Settings) -> None:
        self._begun = time.monotonic()
        self._seconds = seconds
        self._settings = settings
        self._lock = Lock()
        out.mkdir(parents=True, exist_ok=True)
        self._lines = (out / f"{name}.jsonl").open("a", encoding="utf-8")
        self._errors = (out / f"{name}.stderr.txt").open("a", encoding="utf-8")

    def __enter__(self) -> "Call":
        return self

    def __exit__(self, *error: object) -> None:
        self._lines.close()
        self._errors.close()

    def left_s(self) -> float:
        """Return how many seconds are left."""
        return self._seconds - (time.monotonic() - self._begun)

    def say(self, **event: Any) -> Event:
        """Print an event as a line of JSON, and write it to the file of events."""
        with self._lock:
            line = json.dumps({"at_s": round(time.monotonic() - self._begun, 1), **event})
            print(line, flush=True)
            print(line, file=self._lines, flush=True)
        return event

    def run(
        self, *stages: Stage, meanwhile: Callable[[], None] = lambda: None, every_s: float = 1.0
    ) -> list[Event]:
        """Run stages in parallel.

        Args:
            stages: The stages to run.
            meanwhile: Function that is called repeatedly until all stages have ended, and once afterward.
            every_s: Seconds between two calls of ``meanwhile``.

        Returns:
            The events of the stages, and an event with ``stage`` and ``failure`` for each one that failed.
        """
        with ThreadPoolExecutor(len(stages)) as threads:
            running = [threads.submit(self._run_one, stage) for stage in stages]
            while wait(running, every_s).not_done:
                meanwhile()
            meanwhile()
        return [event for one in running for event in one.result()]

    def _run_one(self, stage: Stage) -> list[Event]:
        label = stage.label or stage.name
        limit_s = min(stage.limit_s * self._settings.patience, self.left_s())
        if limit_s <= 0:
            return [self.say(stage=label, failure="no time was left")]
        begun = time.monotonic()
        events, code, stderr = self._ended(stage, label, limit_s)
        took = {"stage": label, "seconds": round(time.monotonic() - begun, 1)}
        if code == 0:
            return [*events, self.say(**took)]
        why = f"did not end within {limit_s:.0f} s" if code == -signal.SIGKILL else _last_line(stderr)
        return [*events, self.say(**took, failure=why)]

    def _ended(self, stage: Stage, label: str, limit_s: float) -> tuple[list[Event], int, str]:
        command = [str(Path(__file__).parent), "stage", stage.name, self._settings.to_json()]
        with (
            tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr,
            subprocess.Popen(
                [sys.executable, *command, *stage.arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            ) as process,
        ):
            killer = Timer(limit_s, _kill, [process.pid])
            killer.start()
            events = [self.say(stage=label, **json.loads(line)) for line in process.stdout or ()]
            code = process.wait()
            killer.cancel()
            stderr.seek(0)
            text = stderr.read()
        with self._lock:
            print(f"== {label}\n{text[-_LONGEST_STDERR:]}", file=self._errors, flush=True)
        return events, code, text


def failures(events: Sequence[Event]) -> dict[str, str]:
    """Return why stages failed, by their names."""
    return {event["stage"]: event["failure"] for event in events if "failure" in event}


def _kill(process: int) -> None:
    """Kill a stage and the processes that it started: they share a session that the stage leads."""
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        return


def _last_line(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no word")[:300]
