"""Describe what a result depends on, for its record and for the finished parts that a later run continues."""

from typing import Any

from esc_cli.enhancement.choice import Chooser
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import Recipe, replaced
from esc_cli.jobs.task import Task


def task_recipe(task: Task, chooser: Chooser, options: Options) -> Recipe:
    """Return everything that a task's result depends on except the bytes of the input, as a JSON object."""
    return {
        **_size_and_networks(task, chooser),
        **options.recorded,
        "format": task.format.name,
        "metadata": sorted(options.write.keep),
        **task.own_recipe(chooser),
    }


def _size_and_networks(task: Task, chooser: Chooser) -> dict[str, Any]:
    """Return the size of a result and the networks that make it.

    An input that was replaced does not have its first size any more. Therefore, the record of a result that
    replaces its input has the rule for the size and the factor, and a later run takes the factor from there.
    """
    if task.in_place is None or task.target is None:
        return {**chooser.recipe(task.factor), "height": task.height, "width": task.width}
    made = replaced(task.target)
    factor = task.factor if made is None else made["in_place"]["factor"]
    return {**chooser.recipe(factor), "in_place": {"rule": task.in_place.rule, "factor": factor}}
