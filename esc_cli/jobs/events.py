"""Define the events of a run, which are for people and, as JSON lines, for programs.

Each line is ``{"version": 2, "event": NAME, ...}`` with the fields of the class whose ``event`` is that name.
"""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from esc_cli.media.formats.base import Several

VERSION = 2
"""Version of the events.

It increases when a field changes its meaning or is removed. New fields and events may be added at any time.
"""


CONTINUE = "run the same command again to continue"
"""The note on an exception that ends a run which a later run can continue."""


@dataclass(frozen=True)
class Engine:
    """The model, the device and the settings of the work. It is sent once for each model.

    It comes before the first ``start`` of its model. It also comes before the ``estimate``, unless the model
    is chosen when a picture is read. ``threads`` is the number that the network runs with, on the CPU only.
    ``measured`` has sentences with the times on this machine that the choices follow from; it is empty if
    nothing was measured.
    """

    model: str
    passes: tuple[float, ...]
    device: str
    device_reason: str
    precision: str
    precision_reason: str
    attention: str
    attention_reason: str
    threads: int | None
    threads_reason: str | None
    measured: tuple[str, ...] = ()
    event: Literal["engine"] = "engine"

    @property
    def in_words(self) -> str:
        """The model, the scales of its passes, the device and the precision."""
        passes = " then ".join(f"x{scale}" for scale in self.passes)
        return f"{self.model} {passes} on {self.device} in {self.precision}"


@dataclass(frozen=True)
class Planned:
    """A file will be made. Sizes are in pixels; ``output`` is "-" for standard output.

    ``lost`` has one sentence for each thing that the format of the output cannot hold. ``model`` is "auto" if
    the model is chosen when the picture is read, and None if nothing is enlarged. ``model_reason`` says why
    the model was chosen. ``several`` says what ``frames`` counts: "frames" of a clip or an animation, or
    "pages" of a document or an archive, whose size is that of the first page. It is None for one picture.
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
    several: "Several | None" = None
    event: Literal["plan"] = "plan"


@dataclass(frozen=True)
class Estimate:
    """The totals of the whole plan. It comes after the last ``plan``, except for a single small file.

    ``seconds`` is an estimate for the network alone, measured on a small picture; None for a job that takes
    about as long as the measurement. ``disk_bytes`` is an estimate for the results. ``warnings`` are
    sentences about the whole run.
    """

    files: int
    up_to_date: int
    skipped: int
    failed: int
    passed_over: int
    seconds: float | None
    disk_bytes: int
    free_disk_bytes: int | None
    warnings: tuple[str, ...]
    event: Literal["estimate"] = "estimate"


@dataclass(frozen=True)
class Started:
    """The network begins with a file. ``number`` counts from 1 to ``total``.

    Other files are read and written at the same time. Therefore, the ``done`` of a file may come after the
    ``start`` of the next file.
    """

    input: str
    number: int
    total: int
    event: Literal["start"] = "start"


@dataclass(frozen=True)
class Progressed:
    """A part of the work on an input is done: ``done`` of ``total``, in input pixels of a network.

    For a clip, the work of an earlier run counts, too, and ``total`` may be an estimate.
    """

    input: str
    done: int
    total: int
    frames_per_second: float | None = None
    event: Literal["progress"] = "progress"


@dataclass(frozen=True)
class Done:
    """A result is made and written. ``notes`` say what could not be kept.

    ``ways`` has one entry for each pass. It says whether the picture went through the network whole, in
    strips or in tiles, and with how much memory. ``model`` is None if nothing was enlarged. ``model_reason``
    says why the model was chosen, if the program chose it. ``repeated`` is the number of frames or pages that
    were not computed, because they equal an earlier one of the file; in a clip, the frame just before.
    ``several`` says which of both they are. It is None if no file or page of an archive has several pictures,
    and if an archive has both kinds.

    For the preview of a picture, ``parts`` are the parts that it shows, each as ``X,Y,WIDTH,HEIGHT`` in
    pixels of the input. ``whole_seconds`` is then an estimate of the network's time for the whole input, or
    None if no network was run or if it ran for the whole.
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
    repeated: int = 0
    several: "Several | None" = None
    parts: tuple[str, ...] = ()
    whole_seconds: float | None = None
    event: Literal["done"] = "done"


@dataclass(frozen=True)
class Skipped:
    """A result already exists and was kept. ``reason`` is "up to date" or "there already".

    A result is up to date if it was made from the same input by the same model and settings.
    """

    input: str
    output: str
    reason: str
    event: Literal["skip"] = "skip"


@dataclass(frozen=True)
class Failed:
    """An input failed. ``exit_code`` is the exit code of a run with this input alone."""

    input: str
    message: str
    hint: str | None
    exit_code: int
    event: Literal["failed"] = "failed"


@dataclass(frozen=True)
class Refused:
    """The run ends for a reason that concerns no single input, nearly always before its work.

    No summary follows. The reason may be a mistake in the options.
    """

    message: str
    hint: str | None
    exit_code: int
    event: Literal["refused"] = "refused"


@dataclass(frozen=True)
class Stopped:
    """A signal or a bug of this program ended the run. No summary follows.

    ``hint`` says what is done, and how to continue.
    """

    message: str
    hint: str | None
    exit_code: int
    event: Literal["stopped"] = "stopped"


@dataclass(frozen=True)
class Workers:
    """The workers of a cluster are ready. It is sent again if their number changes.

    ``nodes`` are the names of their machines.
    """

    workers: int
    nodes: tuple[str, ...]
    event: Literal["workers"] = "workers"


@dataclass(frozen=True)
class WorkerLost:
    """A worker of a cluster died while it worked on an input, which is then tried again."""

    node: str
    input: str
    event: Literal["worker_lost"] = "worker_lost"


@dataclass(frozen=True)
class Watching:
    """All files that are complete are done, and the program waits for others. ``folders`` are watched."""

    folders: tuple[str, ...]
    event: Literal["watching"] = "watching"


@dataclass(frozen=True)
class Summary:
    """The run is over.

    ``passed_over`` counts files in folders that are neither pictures nor clips, and inputs that are results
    of other inputs. ``not_begun`` counts the files that were left when a failure ended the run
    (``--fail-fast``, or a full disk). ``failures`` are the names of the inputs that failed.
    """

    done: int
    skipped: int
    failed: int
    passed_over: int
    seconds: float
    not_begun: int = 0
    failures: tuple[str, ...] = ()
    event: Literal["summary"] = "summary"


Event = (
    Engine
    | Planned
    | Estimate
    | Started
    | Progressed
    | Done
    | Skipped
    | Failed
    | Refused
    | Stopped
    | Workers
    | WorkerLost
    | Watching
    | Summary
)
Listener = Callable[[Event], None]


def seconds_since(begun: float) -> float:
    """Return the seconds since a time of ``time.monotonic``, as events contain them."""
    return round(time.monotonic() - begun, 3)


def size_text(size_bytes: int) -> str:
    """Format a size in GB, MB or kB. Kilobytes are rounded up, so that only an empty file has none."""
    for unit, bytes_a_unit in (("GB", 10**9), ("MB", 10**6)):
        if size_bytes >= bytes_a_unit:
            return f"{size_bytes / bytes_a_unit:,.1f} {unit}"
    return f"{math.ceil(size_bytes / 1000)} kB"


def as_json(event: Event) -> str:
    """Return an event as one line of JSON."""
    return json_line(**asdict(event))


def json_line(event: str, **fields: Any) -> str:
    """Return an event as one line of JSON, in ASCII, which no terminal or encoding can change."""
    return json.dumps({"version": VERSION, "event": event, **fields}, allow_nan=False)
