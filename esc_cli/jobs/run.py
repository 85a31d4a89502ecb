"""Carry out a plan: read, enlarge and write. A bad picture does not stop the others."""

import os
import time
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from functools import partial

from esc_cli.errors import DEBUG_VARIABLE, DiskFullError, EscError, ExitCode, as_ours
from esc_cli.jobs.events import (
    CONTINUE,
    Done,
    Failed,
    Listener,
    Skipped,
    Summary,
    seconds_since,
)
from esc_cli.jobs.memory import high_bytes, low_bytes, room_for_waiting
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import EndOfRun, Stages, attempted, overlapped
from esc_cli.jobs.plan import Plan
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.task import PictureTask, Task
from esc_cli.jobs.work.context import SkipError
from esc_cli.jobs.work.work import Work
from esc_cli.jobs.work_folder import noting

_MOST_UNREPORTED = 32
"""At most this many results are searched for, because the number of pictures in work is limited."""

Outcomes = Generator[tuple[Task, Future[Done]]]
"""The tasks of a run in any order, each with its ``done`` event or its exception."""


def run_plan(plan: Plan, outcomes: Outcomes, options: Options, listener: Listener) -> tuple[Failure, ...]:
    """Make all results of a plan.

    Args:
        plan: The plan.
        outcomes: The work on the tasks of the plan. It is closed at the end.
        options: The options of the run.
        listener: A function that receives all events, in the caller's thread.

    Returns:
        All failures, those of the plan and those of the work.
    """
    return _Run(plan, options, listener).carry_out(outcomes)


def outcomes_here(plan: Plan, work: Work, options: Options) -> Outcomes:
    """Do the work of a plan in this process.

    The pictures come first, and they overlap. Clips and archives follow, one after the other.
    """
    stages = Stages(work.pictures.read, work.pictures.enlarge, work.pictures.write, low_bytes, high_bytes)
    workers = options.workers_here
    pictures = [task for task in plan.tasks if isinstance(task, PictureTask)]
    yield from overlapped(pictures, stages, workers=workers, waiting_bytes=room_for_waiting())
    for task in plan.tasks:
        if not isinstance(task, PictureTask):
            yield task, attempted(partial(work.make, task, EndOfRun()))


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

    def __init__(self, plan: Plan, options: Options, listener: Listener) -> None:
        self._plan = plan
        self._options = options
        self._listener = listener
        self._failures = list(plan.failures)
        self._done = self._reported = 0
        self._turned_up = 0

    def carry_out(self, outcomes: Outcomes) -> tuple[Failure, ...]:
        begun = time.monotonic()
        with noting(self._done_so_far):
            self._carry_out(outcomes)
        self._listener(self._summary(seconds_since(begun)))
        return tuple(self._failures)

    def _carry_out(self, outcomes: Outcomes) -> None:
        with closing(outcomes):
            if not (self._options.fail_fast and self._failures):
                for task, outcome in outcomes:
                    self._reported += 1
                    if self._ends_with(task, outcome):
                        break

    def _done_so_far(self) -> tuple[str, ...]:
        """Return the notes that say how many of several files are done.

        Some results may be written whose outcome has not been reported yet.
        """
        tasks = self._plan.tasks
        if len(tasks) < 2:
            return ()
        unreported = tasks[self._reported : self._reported + _MOST_UNREPORTED]
        done = self._done + sum(task.is_up_to_date for task in unreported)
        return f"{done} of {len(tasks)} files are done", CONTINUE

    def _ends_with(self, task: Task, outcome: Future[Done]) -> bool:
        """Count and report an outcome. Return whether the run ends with it."""
        try:
            done = outcome.result()
        except SkipError as skip:
            self._turned_up += 1
            self._listener(Skipped(task.source.name, task.target_name, str(skip)))
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
