"""Carry out a plan: read, enlarge and write. A bad picture does not stop the others."""

import os
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from esc_cli.engine.memory.free import host_free_bytes
from esc_cli.enhancement.choice import Choice, Chooser, looks_at
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.enhancement.models import Models, name_of
from esc_cli.errors import (
    DEBUG_VARIABLE,
    DiskFullError,
    EscError,
    ExitCode,
    InputError,
    as_ours,
)
from esc_cli.jobs.clips.run import make_clip
from esc_cli.jobs.clips.samples import looks_at_clip
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.events import Done, Engine, Failed, Listener, Progressed, Skipped, Started, Summary
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import Stages, attempted, overlapped
from esc_cli.jobs.plan import Plan, refuse_existing
from esc_cli.jobs.record import Stamp, stamp_unchanged, status_of, write_record
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.streams import STDOUT, write_stdout
from esc_cli.jobs.task import PictureTask, Task
from esc_cli.media.metadata.fitting import metadata_lost
from esc_cli.media.picture import PictureFile
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file, held_by
from esc_cli.storage.whole_files import make_folder, write_whole

MOST_WORKERS = 4
"""Largest default number of threads that read and write.

Reading and writing keep up with any network on the CPU with one thread, and on a GPU with a few.
"""

_SHARE_FOR_WAITING = 8
"""Pictures that wait before or after the network may take an eighth of the free memory."""


@dataclass(frozen=True)
class _Loaded:
    """A picture file in memory, with the identity of the file that was read and the chosen model."""

    file: PictureFile
    stamp: Stamp | None
    choice: Choice | None


@dataclass(frozen=True)
class _Enlarged:
    """A result that is not written yet."""

    file: PictureFile
    stamp: Stamp | None
    choice: Choice | None
    seconds: float
    ways: tuple[str, ...]


class _SkipError(Exception):
    """A result appeared after planning and is kept. The message is the ``reason`` of ``Skipped``."""


class _EndedError(Exception):
    """The run has ended, so a result that is not published yet must not be published."""


def run_plan(
    plan: Plan, chooser: Chooser, enlarger: Enlarger, options: Options, listener: Listener
) -> tuple[Failure, ...]:
    """Make all results of a plan.

    Args:
        plan: The plan.
        chooser: The chooser of each file's model.
        enlarger: The enlarger for the size of the plan. Its models are replaced by those of each file.
        options: The options of the run.
        listener: A function that receives all events, in the caller's thread.

    Returns:
        All failures, those of the plan and those of the work.
    """
    return _Run(plan, chooser, enlarger, options, listener).carry_out()


def exit_code(plan: Plan, failures: Sequence[Failure]) -> ExitCode:
    """Return the exit code of a run.

    If a single file was named, it is the exit code of that file's error. Otherwise, it says whether any of
    several inputs failed.
    """
    if not failures:
        return ExitCode.OK
    return failures[0].error.exit_code if plan.names_one else ExitCode.SOME_FAILED


class _Run:
    """The work of ``run_plan``, and its counters."""

    def __init__(
        self, plan: Plan, chooser: Chooser, enlarger: Enlarger, options: Options, listener: Listener
    ) -> None:
        self._plan = plan
        self._chooser = chooser
        self._enlarger = enlarger
        self._options = options
        self._listener = listener
        self._failures = list(plan.failures)
        self._numbers = {id(task): number for number, task in enumerate(plan.tasks, start=1)}
        self._done = 0
        self._turned_up = 0
        self._told_of = set() if chooser.is_auto else {chooser.name}

    def carry_out(self) -> tuple[Failure, ...]:
        begun = time.monotonic()
        if not (self._options.fail_fast and self._failures):
            with closing(self._outcomes()) as outcomes:
                for task, outcome in outcomes:
                    if self._ends_with(task, outcome):
                        break
        self._listener(self._summary(_seconds_since(begun)))
        return tuple(self._failures)

    def _outcomes(self) -> Generator[tuple[Task, Future[Done]]]:
        """Yield the outcome of each task: first the pictures, which overlap, then clip after clip."""
        yield from self._picture_outcomes()
        for task in self._plan.tasks:
            if isinstance(task, ClipTask):
                yield task, attempted(partial(self._make_clip, task))

    def _picture_outcomes(self) -> Generator[tuple[PictureTask, Future[Done]]]:
        stages = Stages(self._read, self._enlarge, self._write, _low_bytes, _high_bytes)
        workers = self._options.workers or min(MOST_WORKERS, os.cpu_count() or 1)
        waiting_bytes = host_free_bytes() // _SHARE_FOR_WAITING
        pictures = [task for task in self._plan.tasks if isinstance(task, PictureTask)]
        return overlapped(pictures, stages, workers=workers, waiting_bytes=waiting_bytes)

    def _ends_with(self, task: Task, outcome: Future[Done]) -> bool:
        """Count and report an outcome. Return whether the run ends with it."""
        try:
            done = outcome.result()
        except _SkipError as skip:
            self._turned_up += 1
            self._listener(Skipped(task.source.name, target_name(task), str(skip)))
        except BrokenPipeError:
            raise
        except Exception as error:
            if os.environ.get(DEBUG_VARIABLE) and not isinstance(error, EscError):
                raise
            failure = Failure(task.source.name, as_ours(error))
            self._failures.append(failure)
            self._listener(failed(failure))
            return self._options.fail_fast or isinstance(error, DiskFullError)
        else:
            self._done += 1
            self._listener(done)
        return False

    def _read(self, task: PictureTask) -> _Loaded:
        source = task.source.content
        self._check_free(task)
        if isinstance(source, bytes):
            file, stamp = self._read_file(source), None
        else:
            file, stamp = self._read_path(task, cast(Path, source))  # frames from a pipe belong to a clip
        return _Loaded(file, stamp, self._chooser.choose(task.factor, lambda: looks_at(file)))

    def _read_path(self, task: PictureTask, source: Path) -> tuple[PictureFile, Stamp | None]:
        before = status_of(source)
        file = self._read_file(source)
        if (file.first.height, file.first.width) != (task.probe.height, task.probe.width):
            raise InputError(f"{source} changed after the work was planned")
        return file, None if task.recipe is None else stamp_unchanged(source, before)

    def _read_file(self, source: Path | bytes) -> PictureFile:
        return read_file(source, self._options.largest_px, keep_damaged=self._options.keeps_damaged)

    def _enlarge(self, task: PictureTask, loaded: _Loaded) -> _Enlarged:
        self._check_free(task)
        name, enlarger = task.source.name, self._begun_by(task, loaded.choice)
        begun = time.monotonic()
        low = held_by(task.format, loaded.file)
        result = enlarger(low, lambda done, total: self._listener(Progressed(name, done, total)))
        seconds = _seconds_since(begun)
        return _Enlarged(result.file, loaded.stamp, loaded.choice, seconds, result.ways)

    def _begun_by(self, task: Task, choice: Choice | None) -> Enlarger:
        """Report that the network begins with a task, and return the enlarger that runs it.

        When a chosen model is used for the first time, its ``engine`` event is reported first.
        """
        models = self._chooser.models(choice)
        if choice is not None and choice.model not in self._told_of:
            self._listener(cast(Engine, engine_event(models, task.factor)))
            self._told_of.add(choice.model)
        self._listener(Started(task.source.name, self._numbers[id(task)], len(self._plan.tasks)))
        return replace(self._enlarger, models=models)

    def _write(self, task: PictureTask, high: _Enlarged, ended: threading.Event) -> Done:
        begun = time.monotonic()
        models = self._chooser.models(high.choice)
        provenance = models.provenance(task.factor, high.file.first.color.dtype)
        encoded = encode_file(high.file, task.format, replace(self._options.write, provenance=provenance))
        if task.target is None:
            write_stdout(encoded)
        else:
            self._publish(task, task.target, encoded, high, ended)
        first = high.file.first
        too_large = metadata_lost(first.metadata, task.format, self._options.write.keep)
        notes = tuple(dict.fromkeys((*first.notes, *task.lost, *too_large, *_unenlarged(high.choice))))
        seconds = round(high.seconds + _seconds_since(begun), 3)
        name = task.source.name
        size = first.height, first.width
        return Done(name, target_name(task), *size, seconds, notes, high.ways, *told(high.choice))

    def _publish(
        self, task: Task, target: Path, encoded: bytes, high: _Enlarged, ended: threading.Event
    ) -> None:
        """Write a result, unless the run has ended.

        The record is written just before the result gets its name.
        """
        self._check_free(task)

        def record(status: os.stat_result) -> None:
            if ended.is_set():
                raise _EndedError
            if high.stamp is not None and task.recipe is not None:
                result, (model, _) = Stamp.of_content(encoded, status), told(high.choice)
                write_record(target, high.stamp, result, task.recipe, model)

        make_folder(target.parent, task.source.folder_mode)
        replace_it = self._plan.when_there == "overwrite"
        mode = task.source.mode
        write_whole(target, encoded, mode=mode, replace=replace_it, before_publishing=record)

    def _make_clip(self, task: ClipTask) -> Done:
        """Make a clip. Its finished parts are kept for a later run, whatever happens."""
        self._check_free(task)
        name, begun = task.source.name, time.monotonic()
        choice = self._chooser.choose(task.factor, lambda: looks_at_clip(task))
        enlarger = self._begun_by(task, choice)
        frame_px = task.probe.height * task.probe.width

        def publish(complete: Path | None) -> None:
            self._check_free(task)
            if complete is not None and task.recipe is not None and isinstance(task.source.content, Path):
                source, result = Stamp.of(task.source.content), Stamp.of(complete)
                write_record(cast(Path, task.target), source, result, task.recipe, told(choice)[0])

        def report(frames: int, frames_per_second: float) -> None:
            total = max(frames, task.probe.frames)
            self._listener(Progressed(name, frames * frame_px, total * frame_px, round(frames_per_second, 3)))

        write = replace(self._options.write, provenance=enlarger.models.provenance(task.factor))
        made = make_clip(task, enlarger, write, publish, report)
        seconds, size = _seconds_since(begun), (task.height, task.width)
        notes = (*made.notes, *_unenlarged(choice))
        return Done(name, target_name(task), *size, seconds, notes, made.ways, *told(choice))

    def _check_free(self, task: Task) -> None:
        """Check whether the result appeared after planning.

        Raises:
            _SkipError: The result is up to date, or is kept because of the options.
            OutputExistsError: The result exists, and the options allow neither replacing nor skipping it.
        """
        if not task.is_there:
            return
        if task.is_up_to_date:
            raise _SkipError("up to date")
        if self._plan.when_there == "skip":
            raise _SkipError("there already")
        if self._plan.when_there == "refuse":
            refuse_existing([task])

    def _summary(self, seconds: float) -> Summary:
        plan = self._plan
        failed_at_work = len(self._failures) - len(plan.failures)
        return Summary(
            done=self._done,
            skipped=len(plan.up_to_date) + len(plan.skipped) + self._turned_up,
            failed=len(self._failures),
            passed_over=plan.passed_over,
            seconds=seconds,
            not_begun=len(plan.tasks) - self._done - self._turned_up - failed_at_work,
            failures=tuple(failure.name for failure in self._failures),
        )


def failed(failure: Failure) -> Failed:
    """Return the event of a failure."""
    return Failed(failure.name, failure.error.message, failure.error.hint, int(failure.error.exit_code))


def engine_event(models: Models, factor: float) -> Engine | None:
    """Return the event that describes the network, or None if there is nothing to enlarge."""
    upscaler = models.upscaler(factor)
    if upscaler is None:
        return None
    return Engine(
        model=models.name,
        passes=models.passes(factor),
        device=str(upscaler.device),
        device_reason=upscaler.device_reason,
        precision=name_of(upscaler.precision),
        precision_reason=upscaler.precision_reason,
        attention=upscaler.attention,
        attention_reason=upscaler.attention_reason,
    )


def told(choice: Choice | None) -> tuple[str | None, str | None]:
    """Return the model and the reason for it, as events contain them."""
    return (None, None) if choice is None else (choice.model, choice.reason)


def _unenlarged(choice: Choice | None) -> tuple[str, ...]:
    """Return the note for a result without a model, which was at most resized."""
    return ("no network was run, since the result is not larger than its source",) if choice is None else ()


def target_name(task: Task) -> str:
    """Return the name of a task's result in events."""
    return STDOUT if task.target is None else str(task.target)


def _low_bytes(task: Task) -> int:
    return task.low_px * _bytes_a_pixel(task)


def _high_bytes(task: Task) -> int:
    return task.height * task.width * task.probe.frames * _bytes_a_pixel(task)


def _bytes_a_pixel(task: Task) -> int:
    """Return the bytes of a pixel in memory: three or four channels, with the bytes of a sample."""
    channel_bytes = 1 if task.probe.depth_bits <= 8 else 4 if task.probe.floating else 2
    return channel_bytes * (4 if task.probe.alpha else 3)


def _seconds_since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)
