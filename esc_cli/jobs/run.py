"""Carry out a plan: read, enlarge, write; one bad picture does not stop the others."""

import time
from collections.abc import Sequence
from pathlib import Path

from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import EscError, ExitCode, OutOfMemoryError, OutputError
from esc_cli.jobs.enlarge import enlarge
from esc_cli.jobs.events import (
    Done,
    Failed,
    Listener,
    Planned,
    Progressed,
    Skipped,
    Started,
    Summary,
)
from esc_cli.jobs.plan import Plan, Task, is_there, refuse_existing
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.streams import STDOUT, write_stdout
from esc_cli.media.atomic import atomic_path
from esc_cli.media.metadata import metadata_lost
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.read import read_picture
from esc_cli.media.write import WriteSettings, encode_file


def announce(plan: Plan, listener: Listener) -> None:
    """Tell what will be done, what is there already and what cannot be done."""
    for task in plan.tasks:
        listener(_planned(task))
    for task in plan.skipped:
        listener(Skipped(task.source.name, _target_name(task)))
    for failure in plan.failures:
        listener(_failed(failure))


def run_plan(
    plan: Plan, upscaler: Upscaler, listener: Listener, *, quality: int | None = None
) -> tuple[Failure, ...]:
    """Make all pictures of a plan, one after the other.

    Args:
        plan: What to make.
        upscaler: Of the plan's scale or above. Its ``progress`` is set anew for each picture.
        listener: Is told of everything.
        quality: Of lossy formats, 1 to 100; None: the format's default.

    Returns:
        All that failed, in the plan as in the work.
    """
    begun = time.monotonic()
    failed_at_work = []
    for number, task in enumerate(plan.tasks, start=1):
        listener(Started(task.source.name, number, len(plan.tasks)))
        try:
            done = _make(task, plan, upscaler, listener, quality)
        except EscError as error:
            failure = Failure(task.source.name, error)
            failed_at_work.append(failure)
            listener(_failed(failure))
        else:
            listener(done)
    listener(
        Summary(
            done=len(plan.tasks) - len(failed_at_work),
            skipped=len(plan.skipped),
            failed=len(plan.failures) + len(failed_at_work),
            passed_over=plan.passed_over,
            seconds=_seconds_since(begun),
        )
    )
    return (*plan.failures, *failed_at_work)


def exit_code(plan: Plan, failures: Sequence[Failure]) -> ExitCode:
    """Give the exit code of a run: of one named file its own, else whether any of several failed."""
    if not failures:
        return ExitCode.OK
    return failures[0].error.exit_code if plan.names_one else ExitCode.SOME_FAILED


def _make(task: Task, plan: Plan, upscaler: Upscaler, listener: Listener, quality: int | None) -> Done:
    begun = time.monotonic()
    name = task.source.name
    try:
        picture = read_picture(task.source.content)
        high = enlarge(
            picture, upscaler, plan.scale, lambda done, total: listener(Progressed(name, done, total))
        )
        if is_there(task) and not plan.may_replace:
            refuse_existing([task])  # somebody else made it in the meantime
        _write(high, task, quality)
    except MemoryError as error:
        raise OutOfMemoryError("there is not enough memory for this picture") from error
    notes = (*picture.notes, *task.lost, *metadata_lost(picture.metadata, task.format))
    return Done(name, _target_name(task), high.height, high.width, _seconds_since(begun), notes)


def _write(picture: Picture, task: Task, quality: int | None) -> None:
    if task.target is None:
        write_stdout(encode_file(PictureFile((picture,)), task.format, WriteSettings(quality)))
    else:
        _make_folder(task.target.parent)
        encoded = encode_file(PictureFile((picture,)), task.format, WriteSettings(quality))
        with atomic_path(task.target) as partial:
            partial.write_bytes(encoded)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {str(folder)!r}: {error.strerror}") from error


def _planned(task: Task) -> Planned:
    return Planned(
        input=task.source.name,
        output=_target_name(task),
        format=task.format.name,
        height=task.probe.height,
        width=task.probe.width,
        output_height=task.height,
        output_width=task.width,
        lost=task.lost,
    )


def _failed(failure: Failure) -> Failed:
    return Failed(failure.name, failure.error.message, failure.error.hint, int(failure.error.exit_code))


def _target_name(task: Task) -> str:
    return STDOUT if task.target is None else str(task.target)


def _seconds_since(begun: float) -> float:
    return round(time.monotonic() - begun, 3)
