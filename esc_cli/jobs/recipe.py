"""Describe what a result depends on, for its record and for the finished parts that a later run continues."""

from dataclasses import asdict
from typing import Any

from esc_cli.enhancement.choice import Chooser
from esc_cli.jobs.archives.task import ArchiveTask
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.options import Options
from esc_cli.jobs.previews.task import PreviewTask
from esc_cli.jobs.record import Recipe, replaced
from esc_cli.jobs.task import Task


def task_recipe(task: Task, chooser: Chooser, options: Options) -> Recipe:
    """Return everything that a task's result depends on except the bytes of the input, as a JSON object."""
    recipe = {
        **_size_and_networks(task, chooser),
        **options.recorded,
        "format": task.format.name,
        "metadata": sorted(options.write.keep),
    }
    if isinstance(task, ArchiveTask):
        return {**recipe, "pages": _page_recipes(task, chooser)}
    if isinstance(task, PreviewTask):
        return {**recipe, "preview": task.shown}
    return {**recipe, "clip": _clip_recipe(task)} if isinstance(task, ClipTask) else recipe


def _page_recipes(task: ArchiveTask, chooser: Chooser) -> list[Recipe]:
    """Return what each kind of page depends on. Nothing is known about pages that were replaced."""
    kinds: list[Recipe] = []
    for part in task.parts if task.in_place is None else ():
        size = {"height": part.height, "width": part.width}
        kind = {**chooser.recipe(part.factor), **size, "format": part.format.name}
        if kind not in kinds:
            kinds.append(kind)
    return kinds


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


def _clip_recipe(task: ClipTask) -> Recipe:
    # How damage is handled is one of the recorded options.
    options = asdict(task.options.apart_from_damage)
    asked = {key: str(value) for key, value in options.items()}
    if task.in_place is not None:
        return asked  # the settings of the encoder follow from the original, which is not there any more
    return {**asked, "encode": {key: str(value) for key, value in asdict(task.settings).items()}}
