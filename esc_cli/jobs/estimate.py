"""Choose the models of a plan, and estimate its time and disk space, before it is carried out."""

import itertools
import math
import operator
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import starmap
from pathlib import Path
from typing import Literal, cast

import torch

from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.enlarge import enlarge
from esc_cli.enhancement.models import Models
from esc_cli.errors import as_ours
from esc_cli.jobs.events import Estimate, size_text
from esc_cli.jobs.options import Options
from esc_cli.jobs.plan import Plan
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.task import Task
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.video.containers import Container


def with_choices(plan: Plan, chooser: Chooser, options: Options) -> Plan:
    """Choose the model of each task of a plan.

    Args:
        plan: The plan.
        chooser: The chooser of the models.
        options: The options of the run.

    Returns:
        The plan with the chosen models. An input that cannot be decoded is a failure, as in the run.
    """
    tasks, failures = [], list(plan.failures)
    for task in plan.tasks:
        try:
            choice = chooser.choose(task.factor, partial(task.looks, options))
            tasks.append(replace(task, choice=choice))
        except Exception as error:  # noqa: BLE001 - as in the run
            failures.append(Failure(task.source.name, as_ours(error)))
    return replace(plan, tasks=tuple(tasks), failures=tuple(failures))


_Way = tuple[Models, tuple[float, ...]]
"""A network, and the scales of its passes."""

_TRIAL_PX = {"cpu": 64}
_TRIAL_PX_ELSEWHERE = 256
"""Side of the picture that the network is timed on. Tiles of this size run at full speed."""

_TRIALS = 3
_LARGEST_SHARE = 0.05
"""Largest share of the estimated time that the trials may take. A dry run makes one trial in any case."""


Timed = Literal["always", "if cheap", "never"]
"""When the networks of a plan are timed."""


def estimate_plan(plan: Plan, chooser: Chooser, *, timed: Timed) -> Estimate:
    """Estimate the time and the disk space of a plan.

    Args:
        plan: The plan. Its networks are timed on a small picture of noise.
        chooser: The source of the networks. If no model is chosen yet, the one for clean pictures is timed.
        timed: Whether to estimate the time. For a small job, the trials would take as long as the work
            itself, so "if cheap" leaves it out.

    Raises:
        EscError: A network cannot be run.
    """
    disk_bytes = sum(_result_bytes(part) for task in plan.tasks for part in task.parts)
    free = _free_disk_bytes(plan.tasks)
    seconds = None if timed == "never" else _seconds(plan.tasks, chooser, only_if_cheap=timed == "if cheap")
    warnings = []
    if free is not None and disk_bytes > free:
        needed = size_text(disk_bytes)
        warnings.append(f"the results may take about {needed}, and the disk has {size_text(free)} left")
    return Estimate(
        files=len(plan.tasks),
        up_to_date=len(plan.up_to_date),
        skipped=len(plan.skipped),
        failed=len(plan.failures),
        passed_over=plan.passed_over,
        seconds=seconds,
        disk_bytes=disk_bytes,
        free_disk_bytes=free,
        warnings=tuple(warnings),
    )


def _seconds(tasks: Iterable[Task], chooser: Chooser, *, only_if_cheap: bool) -> float | None:
    """Estimate the time of all networks from the time that each one takes per pixel."""
    low_px: Counter[_Way] = Counter()
    for task in tasks:
        models = chooser.models(task.choice)
        for part in task.parts:
            low_px[models, models.passes(part.factor)] += part.work_px * _planes(part)
    work = {way: pixels for way, pixels in low_px.items() if way[1]}
    if only_if_cheap and not _is_cheap(work):
        return None
    return round(sum(starmap(_seconds_of, work.items())), 1)


def seconds_of_whole(task: Task, models: Models) -> float | None:
    """Estimate the time of the network for the whole source of a task, or None if no network is run.

    Args:
        task: The task.
        models: The networks that are timed on a small picture of noise.
    """
    passes = models.passes(task.factor)
    return round(_seconds_of((models, passes), task.low_px * _planes(task)), 1) if passes else None


def _planes(task: Task) -> int:
    """Return how often the network runs over a source. Alpha goes through it, too."""
    return 2 if task.probe.alpha else 1


def _is_cheap(work: Mapping[_Way, int]) -> bool:
    """Return whether a trial of each network is small beside the work. For little work, none is loaded."""
    most_px = sum(work.values()) * _LARGEST_SHARE
    return most_px >= min(_TRIAL_PX.values()) ** 2 and most_px >= sum(map(_trial_px, work))


def _trial_px(way: _Way) -> int:
    upscaler = way[0].upscaler(way[1][0])
    side_px = 0 if upscaler is None else _TRIAL_PX.get(upscaler.device.type, _TRIAL_PX_ELSEWHERE)
    return side_px**2


def _seconds_of(way: _Way, pixels: int) -> float:
    """Estimate the time of all passes over some pixels, from trials of the first network on a small picture.

    The networks of later passes process more pixels, but are of the same kind.
    """
    models, passes = way
    upscaler = models.upscaler(passes[0])
    if upscaler is None:
        return 0
    side_px = math.isqrt(min(pixels, _trial_px(way)))
    noise = torch.randint(0, 256, (1, 3, side_px, side_px), dtype=torch.uint8)
    picture = Picture(noise, None, False, Metadata(), "PNG")
    size = round(side_px * passes[0]), round(side_px * passes[0])
    growth = sum(scale**2 for scale in itertools.accumulate(passes[:-1], operator.mul, initial=1))
    trials: list[float] = []
    # The first run is slower, as it allocates memory and selects kernels. On a busy machine, any run may be.
    while len(trials) < _TRIALS:
        trials.append(_timed(lambda: enlarge(picture, upscaler, size)))
        seconds = min(trials) * pixels / side_px**2 * growth
        if sum(trials) + trials[-1] > seconds * _LARGEST_SHARE:
            break
    return seconds


def _timed(work: Callable[[], object]) -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def _result_bytes(task: Task) -> int:
    values = task.result_px * (4 if task.probe.alpha else 3)
    format = cast(PictureFormat | Container, task.format)  # an archive has parts of its own
    return round(format.result_bytes(values, task.probe.depth_bits))


def _free_disk_bytes(tasks: Iterable[Task]) -> int | None:
    """Return the free disk space where the first result goes, or None for standard output."""
    target = next((task.target for task in tasks if task.target is not None), None)
    if target is None:
        return None
    existing = next((folder for folder in target.absolute().parents if folder.is_dir()), Path("/"))
    return shutil.disk_usage(existing).free
