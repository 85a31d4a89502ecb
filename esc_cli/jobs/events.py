"""What happens during a run, for people and, as JSON lines, for programs.

Each line is ``{"version": 1, "event": NAME, ...}`` with the fields of the class of that name.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

VERSION = 1
"""Goes up when a field changes its meaning or goes away; new fields and events may come at any time."""


@dataclass(frozen=True)
class Planned:
    """A picture will be made. Sizes are in pixels; ``output`` is "-" for standard output."""

    input: str
    output: str
    format: str
    height: int
    width: int
    output_height: int
    output_width: int
    lost: tuple[str, ...]
    event: Literal["plan"] = "plan"


@dataclass(frozen=True)
class Started:
    """Work on a picture begins; ``number`` counts from 1 to ``total``."""

    input: str
    number: int
    total: int
    event: Literal["start"] = "start"


@dataclass(frozen=True)
class Progressed:
    """``done`` of ``total`` of the work on a picture is done; the unit is an input pixel of a network."""

    input: str
    done: int
    total: int
    event: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Done:
    """A picture is made and written. ``notes`` say what could not be kept."""

    input: str
    output: str
    output_height: int
    output_width: int
    seconds: float
    notes: tuple[str, ...]
    event: Literal["done"] = "done"


@dataclass(frozen=True)
class Skipped:
    """A result is there already and was left as it is."""

    input: str
    output: str
    event: Literal["skip"] = "skip"


@dataclass(frozen=True)
class Failed:
    """An input came to nothing; ``exit_code`` is the one that it would have had alone."""

    input: str
    message: str
    hint: str | None
    exit_code: int
    event: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Refused:
    """The run ends before its work, for a reason that is none of a single input; no summary follows."""

    message: str
    hint: str | None
    exit_code: int
    event: Literal["refused"] = "refused"


@dataclass(frozen=True)
class Summary:
    """The run is over. ``passed_over`` counts files in folders that are no pictures."""

    done: int
    skipped: int
    failed: int
    passed_over: int
    seconds: float
    event: Literal["summary"] = "summary"


Event = Planned | Started | Progressed | Done | Skipped | Failed | Refused | Summary
Listener = Callable[[Event], None]


def as_json(event: Event) -> str:
    """Write an event as one line of JSON."""
    return json_line(**asdict(event))


def json_line(event: str, **fields: Any) -> str:
    """Write what happened as one line of JSON; in ASCII, which no terminal and no encoding can spoil."""
    return json.dumps({"version": VERSION, "event": event, **fields}, allow_nan=False)
