"""A worker of a cluster: it loads the networks once, and makes results, each from reading to publishing."""

import os
import platform
import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import EscError, InputError, OutputError, UsageError, as_ours
from esc_cli.jobs.cluster.units import Outcome, Unit, WorkerContext
from esc_cli.jobs.events import Event, Progressed
from esc_cli.jobs.niceness import be_nice
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.work.context import RunContext, SkipError
from esc_cli.jobs.work.work import Work
from esc_cli.version import program_version

AT_ONCE = 3
"""Units that a worker does at the same time: one is read, one is enlarged, and one is written."""

IDLE_BYTES = 2**30
"""Memory that a worker has for the program and its networks, in addition to its pictures."""

_TOLD_EVERY_S = 0.25
"""Interval at which a worker sends the events of a task that is not finished."""


@dataclass(frozen=True)
class Job:
    """The facts about a run that a worker needs.

    Attributes:
        options: The options of the run.
        size: The rule for the size of the results.
        job_px: Number of pixels of all pictures of a size, as the enlarger takes it.
        total: Number of tasks of the run.
        folder: The current folder of the driver, to which relative paths refer.
        version: The version of the driver's program.
        networks: A factor by which pictures are enlarged, and the recipe of the driver's networks for it.
        places: Inputs and results that every worker must be able to read and write, as an example.
        worker_bytes: Memory that a worker may need.
        threads: Number of threads that a worker's network may use.
    """

    options: Options
    size: Geometry
    job_px: Mapping[tuple[int, int], int]
    total: int
    folder: Path
    version: str
    networks: tuple[float, Mapping[str, Any]]
    places: tuple[tuple[Path, Path], ...]
    worker_bytes: int = IDLE_BYTES
    threads: int = 1


class Worker:
    """A worker. Its methods are called by the driver, from several threads.

    Args:
        job: The job, which is the same for all workers of a run.
    """

    def __init__(self, job: Job) -> None:
        be_nice(job.options.nice)
        self._job = job
        self._network = threading.Lock()
        self._making = threading.Lock()
        self._ended = EndOfRun()
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="esc-upscale")
        self._told_of: set[str] = set()

    def check(self) -> tuple[str, EscError | None]:
        """Return the name of the worker's machine, and what prevents the worker from doing the job."""
        try:
            _check_program(self._job)
            with self._making:
                chooser, _ = self._made
            _check_files(self._job, chooser)
        except Exception as error:  # noqa: BLE001 - the driver reports it
            return platform.node(), as_ours(error)
        return platform.node(), None

    def make(self, unit: Unit) -> Iterator[Sequence[Event | Outcome]]:
        """Do a unit. The events are sent in lists, and the outcome is the last item of the last list."""
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        future = self._pool.submit(self._carried_out, unit, events.put)
        while not _is_finished(future):
            told = _drained(events)
            if told:
                yield told
        yield [*_drained(events), _outcome(future)]

    def end(self) -> None:
        """Publish nothing more, and wait until the results that are being published are complete."""
        self._ended.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    @cached_property
    def _made(self) -> tuple[Chooser, Enlarger]:
        """The networks of the job. They are made once, after the worker has checked itself."""
        job = self._job
        torch.set_num_threads(min(job.threads, job.options.threads or job.threads))
        chooser = Chooser(job.options)
        return chooser, Enlarger.of(job.options, chooser.default, job.size, job.job_px)

    def _carried_out(self, unit: Unit, listener: Callable[[Event], None]) -> Any:
        with self._making:
            chooser, enlarger = self._made
        options, total = self._job.options, self._job.total
        work = Work(RunContext(chooser, enlarger, options, total, listener, self._told_of))
        return unit.carry_out(WorkerContext(work, self._network, self._ended))


def _is_finished(future: Future[Any]) -> bool:
    return bool(wait([future], timeout=_TOLD_EVERY_S).done)


def _drained(events: "queue.SimpleQueue[Event]") -> list[Event]:
    """Return the events since the last call. Of successive progress events, only the last one is returned."""
    told: list[Event] = []
    while not events.empty():
        event = events.get()
        if told and isinstance(event, Progressed) and isinstance(told[-1], Progressed):
            told.pop()
        told.append(event)
    return told


def _outcome(future: Future[Any]) -> Outcome:
    error = future.exception()
    if error is None:
        return Outcome(future.result(), None)
    return Outcome(None, error if isinstance(error, SkipError) else as_ours(cast(Exception, error)))


def _check_program(job: Job) -> None:
    """Check that a worker runs the same program, and go to the driver's folder.

    Raises:
        UsageError: The program is another one.
        InputError: The worker does not see the folder.
    """
    if program_version() != job.version:
        raise UsageError(f"it has version {program_version()} of this program instead of {job.version}")
    try:
        os.chdir(job.folder)
    except OSError as error:
        raise InputError(f"it cannot see the folder {job.folder}: {error.strerror}") from error


def _check_files(job: Job, chooser: Chooser) -> None:
    """Check that a worker has the same weights, and sees the same files.

    Raises:
        EscError: It does not.
    """
    factor, networks = job.networks
    if chooser.recipe(factor) != networks:
        raise UsageError("it has other weights")
    for source, target in job.places:
        _check_readable(source)
        _check_writable(target.absolute())


def _check_readable(source: Path) -> None:
    try:
        if not source.is_dir() and "%" not in source.name:  # an image sequence is a pattern
            source.open("rb").close()
    except OSError as error:
        raise InputError(f"it cannot read {source}: {error.strerror}") from error


def _check_writable(target: Path) -> None:
    folder = next(parent for parent in target.parents if parent.is_dir())
    try:
        with tempfile.NamedTemporaryFile(prefix=".esc-upscale-", dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"it cannot write to {folder}: {error.strerror}") from error
