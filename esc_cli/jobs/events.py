"""What happens during a run, for people and, as JSON lines, for programs.

Each line is ``{"version": 2, "event": NAME, ...}`` with the fields of the class of that name.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

VERSION = 2
"""Goes up when a field changes its meaning or goes away; new fields and events may come at any time."""


@dataclass(frozen=True)
class Engine:
    """What the work is done with: once for each model, before its first ``start``.

    It comes before the ``estimate`` unless the model is chosen when a picture is read.
    """

    model: str
    passes: tuple[float, ...]
    device: str
    device_reason: str
    precision: str
    precision_reason: str
    attention: str
    attention_reason: str
    event: Literal["engine"] = "engine"


@dataclass(frozen=True)
class Planned:
    """A file will be made. Sizes are in pixels; ``output`` is "-" for standard output.

    ``lost`` says what the output's format cannot hold, a sentence each. ``model`` is "auto" where it is
    chosen when the picture is read, and None where nothing is enlarged; ``model_reason`` says why it was
    chosen.
    """

    input: str
    output: str
    format: str
    height: int
    width: int
    output_height: int
    output_width: int
    frames: int
    lost: tuple[str, ...]
    model: str | None
    model_reason: str | None
    event: Literal["plan"] = "plan"


@dataclass(frozen=True)
class Estimate:
    """What the whole plan comes to; after the last ``plan``.

    ``seconds`` and ``disk_bytes`` are estimates: of the network alone, measured on a small picture, and of
    the results. ``warnings`` are sentences about the whole run.
    """

    files: int
    up_to_date: int
    skipped: int
    failed: int
    passed_over: int
    seconds: float
    disk_bytes: int
    free_disk_bytes: int | None
    warnings: tuple[str, ...]
    event: Literal["estimate"] = "estimate"


@dataclass(frozen=True)
class Started:
    """The network begins with a file; ``number`` counts from 1 to ``total``.

    Others are read and written at the same time: its ``done`` may come after the next one's ``start``.
    """

    input: str
    number: int
    total: int
    event: Literal["start"] = "start"


@dataclass(frozen=True)
class Progressed:
    """``done`` of ``total`` of the work on an input is done; the unit is an input pixel of a network.

    Of a clip, what was done in an earlier run counts, and ``total`` may be an estimate.
    """

    input: str
    done: int
    total: int
    frames_per_second: float | None = None
    event: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Done:
    """A picture is made and written. ``notes`` say what could not be kept.

    ``ways`` say how the picture went through the network, whole, in strips or in tiles, and with how much
    memory; one for each pass. ``model`` is None where nothing was enlarged; ``model_reason`` says why it was
    chosen, if it was.
    """

    input: str
    output: str
    output_height: int
    output_width: int
    seconds: float
    notes: tuple[str, ...]
    ways: tuple[str, ...]
    model: str | None
    model_reason: str | None
    event: Literal["done"] = "done"


@dataclass(frozen=True)
class Skipped:
    """A result is there already and was left as it is; ``reason`` is "up to date" or "there already".

    It is up to date if it was made from the same input by the same model and settings.
    """

    input: str
    output: str
    reason: str
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
    """The run is over. ``passed_over`` counts files in folders that are no pictures.

    ``not_begun`` counts what was left when a failure ended the run (``--fail-fast``, or a full disk);
    ``failures`` are the inputs that failed.
    """

    done: int
    skipped: int
    failed: int
    passed_over: int
    seconds: float
    not_begun: int = 0
    failures: tuple[str, ...] = ()
    event: Literal["summary"] = "summary"


Event = Engine | Planned | Estimate | Started | Progressed | Done | Skipped | Failed | Refused | Summary
Listener = Callable[[Event], None]


def as_json(event: Event) -> str:
    """Write an event as one line of JSON."""
    return json_line(**asdict(event))


def json_line(event: str, **fields: Any) -> str:
    """Write what happened as one line of JSON; in ASCII, which no terminal and no encoding can change."""
    return json.dumps({"version": VERSION, "event": event, **fields}, allow_nan=False)
