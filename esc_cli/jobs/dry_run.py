"""Choose the model of each file in a dry run.

This is not part of the plan, because each file has to be decoded.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

from esc_cli.enhancement.choice import Chooser, looks_at
from esc_cli.enhancement.traces import Traces
from esc_cli.errors import as_ours
from esc_cli.jobs.clips.samples import looks_at_clip
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.plan import Plan
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.task import Task
from esc_cli.media.read import read_file


def with_choices(plan: Plan, chooser: Chooser, largest_px: int) -> Plan:
    """Choose the model of each task of a plan.

    Args:
        plan: The plan.
        chooser: The chooser of the models.
        largest_px: Largest number of pixels of an input. Larger inputs are refused.

    Returns:
        The plan with the chosen models. An input that cannot be decoded is a failure, as in the run.
    """
    tasks, failures = [], list(plan.failures)
    for task in plan.tasks:
        try:
            choice = chooser.choose(task.factor, partial(_looks, task, largest_px))
            tasks.append(replace(task, choice=choice))
        except Exception as error:  # noqa: BLE001 - as in the run
            failures.append(Failure(task.source.name, as_ours(error)))
    return replace(plan, tasks=tuple(tasks), failures=tuple(failures))


def _looks(task: Task, largest_px: int) -> Iterable[Traces]:
    if isinstance(task, ClipTask):
        return looks_at_clip(task)
    return looks_at(read_file(cast(Path | bytes, task.source.content), largest_px))
