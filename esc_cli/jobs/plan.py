"""All decisions before any work: what is made from what, under which name, in which size."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from esc_cli.errors import EscError, OutputError, OutputExistsError
from esc_cli.jobs.naming import (
    Destination,
    choose_format,
    decide_destination,
    results_folder,
    target_path,
)
from esc_cli.jobs.sources import Source, find_sources
from esc_cli.media.formats import PictureFormat, check_fits, what_is_lost
from esc_cli.media.probe import Probe, probe

WhenThere = Literal["refuse", "overwrite", "skip"]
"""What to do about a result that is there already."""


@dataclass(frozen=True)
class Task:
    """One picture to make.

    Attributes:
        source: What it is made from.
        target: Its file; None for standard output.
        format: What it is written as.
        probe: What the source's header says.
        height: Of the result, pixels.
        width: Of the result, pixels.
        lost: What the format cannot hold, a sentence each.
    """

    source: Source
    target: Path | None
    format: PictureFormat
    probe: Probe
    height: int
    width: int
    lost: tuple[str, ...]


@dataclass(frozen=True)
class Failure:
    """An input that came to nothing."""

    name: str
    error: EscError


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        tasks: In order.
        skipped: Tasks whose result is there already.
        failures: Inputs that cannot be done, known before the work.
        passed_over: Files in folders that are no pictures.
        scale: Pixels out per pixel in.
        named_one_file: The user named a single file: it fails with its own exit code.
    """

    tasks: tuple[Task, ...]
    skipped: tuple[Task, ...]
    failures: tuple[Failure, ...]
    passed_over: int
    scale: float
    named_one_file: bool


def make_plan(
    names: Sequence[str],
    *,
    scale: float,
    output: str | None = None,
    extension: str | None = None,
    recursive: bool = False,
    when_there: WhenThere = "refuse",
) -> Plan:
    """Plan a run.

    Args:
        names: Files, folders, patterns, or ``-``.
        scale: Pixels out per pixel in.
        output: A file, a folder or ``-``; None: beside the inputs.
        extension: The format to write; None: each input's own.
        recursive: Look into sub-folders.
        when_there: What to do about results that are there already.

    Raises:
        UsageError: The options contradict each other.
        OutputExistsError: A result is there already, and ``when_there`` says to refuse that.
        OutputError: Two inputs would get one name, or a result would replace an input.
    """
    destination = decide_destination(names, output, extension)
    sources = find_sources(names, recursive=recursive, never=_result_folders(names, destination, scale))
    failures = [Failure(name, error) for name, error in sources.missing]
    tasks: list[Task] = []
    for source in sources.pictures:
        try:
            tasks.append(_plan_task(source, destination, scale))
        except EscError as error:
            failures.append(Failure(source.name, error))
    _refuse_collisions(tasks)
    _refuse_own_inputs(tasks)
    there = [task for task in tasks if task.target is not None and os.path.lexists(task.target)]
    if there and when_there == "refuse":
        raise _exists(there)
    skipped = {task.target for task in there} if when_there == "skip" else set()
    return Plan(
        tasks=tuple(task for task in tasks if task.target not in skipped),
        skipped=tuple(task for task in tasks if task.target in skipped),
        failures=tuple(failures),
        passed_over=sources.passed_over,
        scale=scale,
        named_one_file=sources.named_one_file,
    )


def enlarged_size(height: int, width: int, scale: float) -> tuple[int, int]:
    """Give the size of a result, (height, width), each side rounded and at least one pixel."""
    return max(1, round(height * scale)), max(1, round(width * scale))


def _plan_task(source: Source, destination: Destination, scale: float) -> Task:
    header = probe(source.content)
    format = choose_format(destination, header.format)
    height, width = enlarged_size(header.height, header.width, scale)
    check_fits(height, width, format)
    target = target_path(source, destination, format, scale)
    _check_writable(target)
    return Task(source, target, format, header, height, width, what_is_lost(header.alpha, format))


def _result_folders(names: Sequence[str], destination: Destination, scale: float) -> list[Path]:
    beside = [results_folder(Path(name), scale) for name in names if Path(name).is_dir()]
    return beside + ([destination.path] if destination.path is not None else [])


def _refuse_collisions(tasks: Iterable[Task]) -> None:
    owners: dict[Path, Task] = {}
    for task in tasks:
        if task.target is None:
            continue
        owner = owners.setdefault(task.target, task)
        if owner is not task:
            both = f"{owner.source.name!r} and {task.source.name!r}"
            raise OutputError(
                f"{both} would both become {str(task.target)!r}", hint="give them folders of their own"
            )


def _refuse_own_inputs(tasks: Sequence[Task]) -> None:
    inputs = {task.source.content.resolve() for task in tasks if isinstance(task.source.content, Path)}
    for task in tasks:
        if task.target is not None and task.target.resolve() in inputs:
            raise OutputError(f"{str(task.target)!r} is an input; results never replace inputs")


def _check_writable(target: Path | None) -> None:
    """Find out before the work, as far as one can, whether a result can be written."""
    if target is None:
        return
    if target.is_dir():
        raise OutputError(f"{str(target)!r} is a folder")
    existing = next(parent for parent in target.absolute().parents if parent.exists())
    if not existing.is_dir():
        raise OutputError(f"{str(existing)!r} is no folder, so {str(target)!r} cannot be written")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"the folder {str(existing)!r} cannot be written to")


def _exists(there: Sequence[Task]) -> OutputExistsError:
    more = f" (and {len(there) - 1} more)" if len(there) > 1 else ""
    return OutputExistsError(
        f"{str(there[0].target)!r}{more} is there already", hint="choose --overwrite or --skip-existing"
    )
