"""Collect everything that determines a result, for the record beside it."""

from dataclasses import asdict

from esc_cli.enhancement.choice import Chooser
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import Recipe
from esc_cli.jobs.task import Task


def task_recipe(task: Task, chooser: Chooser, options: Options) -> Recipe:
    """Return everything that a task's result depends on except the bytes of the input, as a JSON object."""
    recipe = {
        **chooser.recipe(task.factor),
        **options.recorded,
        "height": task.height,
        "width": task.width,
        "format": task.format.name,
        "metadata": sorted(options.write.keep),
    }
    return {**recipe, "clip": _clip_recipe(task)} if isinstance(task, ClipTask) else recipe


def _clip_recipe(task: ClipTask) -> Recipe:
    asked = {key: str(value) for key, value in asdict(task.options).items()}
    return {**asked, "encode": {key: str(value) for key, value in asdict(task.settings).items()}}
