"""Carry out a plan: read, enlarge, write; one bad picture does not stop the others."""

import sys
import time
from pathlib import Path

from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import EscError, OutOfMemoryError, OutputError
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
from esc_cli.jobs.naming import STDOUT
from esc_cli.jobs.plan import Failure, Plan, Task
from esc_cli.media.read import read_picture
from esc_cli.media.write import encode_picture, write_picture


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
    failures = list(plan.failures)
    for number, task in enumerate(plan.tasks, start=1):
        listener(Started(task.source.name, number, len(plan.tasks)))
        try:
            listener(_make(task, upscaler, plan.scale, listener, quality))
        except EscError as error:
            failures.append(Failure(task.source.name, error))
            listener(_failed(failures[-1]))
    listener(
        Summary(
            done=len(plan.tasks) + len(plan.failures) - len(failures),
            skipped=len(plan.skipped),
            failed=len(failures),
            passed_over=plan.passed_over,
            seconds=round(time.monotonic() - begun, 3),
        )
    )
    return tuple(failures)


def _make(task: Task, upscaler: Upscaler, scale: float, listener: Listener, quality: int | None) -> Done:
    begun = time.monotonic()
    name = task.source.name
    upscaler.progress = lambda done, total: listener(Progressed(name, done, total))
    try:
        picture = read_picture(task.source.content)
        high = enlarge(picture, upscaler, scale)
        if task.target is None:
            _to_stdout(encode_picture(high, task.format, quality))
        else:
            _make_parent(task.target)
            write_picture(high, task.target, task.format, quality)
    except MemoryError as error:
        raise OutOfMemoryError("there is not enough memory for this picture") from error
    seconds = round(time.monotonic() - begun, 3)
    notes = (*picture.notes, *task.lost)
    return Done(name, _target_name(task), high.height, high.width, seconds, notes)


def _to_stdout(content: bytes) -> None:
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def _make_parent(target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {str(target.parent)!r}: {error.strerror}") from error


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
