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
from esc_cli.jobs.sources import Failure, Source, Sources, expand, find_sources
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
class Plan:
    """What will be done.

    Attributes:
        tasks: In order.
        skipped: Tasks whose result is there already.
        failures: Inputs that cannot be done, known before the work.
        passed_over: Files in folders that are no pictures.
        scale: Pixels out per pixel in.
        names_one: There is a single input, and it was not found in a folder: it fails with its own exit code.
        may_replace: Results that turn up during the work may be replaced, too.
    """

    tasks: tuple[Task, ...]
    skipped: tuple[Task, ...]
    failures: tuple[Failure, ...]
    passed_over: int
    scale: float
    names_one: bool
    may_replace: bool = False


def plan_names(
    names: Sequence[str],
    *,
    scale: float,
    output: str | None = None,
    extension: str | None = None,
    recursive: bool = False,
    when_there: WhenThere = "refuse",
) -> Plan:
    """Plan a run from what a user typed.

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
        OutputError: As of ``plan_sources``.
    """
    names = expand(names)
    destination = decide_destination(names, output, extension)
    never = _folders_of_results(names, destination, scale)
    sources = find_sources(names, recursive=recursive, never=never)
    return plan_sources(sources, destination, scale, when_there)


def plan_sources(sources: Sources, destination: Destination, scale: float, when_there: WhenThere) -> Plan:
    """Plan a run from the pictures that were found.

    Raises:
        OutputExistsError: A result is there already, and ``when_there`` says to refuse that.
        OutputError: Two inputs would get one name, a result would replace an input, or its place cannot be
            written to.
    """
    failures = list(sources.failures)
    tasks: list[Task] = []
    for source in sources.pictures:
        try:
            tasks.append(_plan_task(source, destination, scale))
        except EscError as error:
            failures.append(Failure(source.name, error))
    _refuse_collisions(tasks)
    there = [task for task in tasks if is_there(task)]
    _refuse_own_inputs(there, sources.pictures)
    _refuse_unreplaceable(there)
    if when_there == "refuse":
        refuse_existing(there)
    skipped = {task.target for task in there} if when_there == "skip" else set()
    to_do = tuple(task for task in tasks if task.target not in skipped)
    _refuse_unwritable(to_do)
    return Plan(
        tasks=to_do,
        skipped=tuple(task for task in tasks if task.target in skipped),
        failures=tuple(failures),
        passed_over=sources.passed_over,
        scale=scale,
        names_one=_is_one(sources),
        may_replace=when_there == "overwrite",
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
    _check_name(target)
    return Task(source, target, format, header, height, width, what_is_lost(header.alpha, format))


def _check_name(target: Path | None) -> None:
    """Find out whether the system would take a name at all: it may be too long with its scale."""
    try:
        if target is not None:
            target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror}") from error


def _folders_of_results(names: Sequence[str], destination: Destination, scale: float) -> list[Path]:
    if destination.path is not None:
        return [destination.path]
    folders = (Path(name) for name in names if os.path.isdir(name))  # noqa: PTH112 - as in sources
    return [results_folder(folder, scale) for folder in folders]


def _is_one(sources: Sources) -> bool:
    found_in_folder = any(source.folder is not None for source in sources.pictures)
    return len(sources.pictures) + len(sources.failures) == 1 and not found_in_folder


def _refuse_collisions(tasks: Iterable[Task]) -> None:
    owners: dict[str, Task] = {}
    for task in tasks:
        if task.target is None:
            continue
        owner = owners.setdefault(os.path.realpath(task.target), task)
        if owner is not task:
            raise OutputError(
                f"{owner.source.name!r} and {task.source.name!r} would both become {str(task.target)!r}",
                hint="upscale them one by one, with a name for each",
            )


def _refuse_own_inputs(there: Iterable[Task], sources: Iterable[Source]) -> None:
    paths = (source.content for source in sources if isinstance(source.content, Path))
    inputs = {_identity(path) for path in paths} - {None}
    for task in there:
        if task.target is not None and _identity(task.target) in inputs:
            raise OutputError(
                f"{str(task.target)!r} is an input, and results never replace inputs",
                hint="choose another place with -o",
            )


def _identity(path: Path) -> tuple[int, int] | None:
    """What is the same for all names of a file: links, and other cases where case does not matter."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_there(task: Task) -> bool:
    """Tell whether a result's name is taken."""
    return task.target is not None and os.path.lexists(task.target)


def refuse_existing(there: Sequence[Task]) -> None:
    """Refuse tasks whose results are there.

    Raises:
        OutputExistsError: There are any.
    """
    if there:
        more = f" and {len(there) - 1} more are" if len(there) > 1 else " is"
        raise OutputExistsError(
            f"{str(there[0].target)!r}{more} there already", hint="choose --overwrite or --skip-existing"
        )


def _refuse_unreplaceable(there: Sequence[Task]) -> None:
    for task in there:
        if task.target is not None and task.target.exists() and not task.target.is_file():
            kind = "a folder" if task.target.is_dir() else "no ordinary file"
            raise OutputError(f"cannot write {str(task.target)!r}: it is {kind}")


def _refuse_unwritable(tasks: Iterable[Task]) -> None:
    """Find out before the work, as far as one can, whether the results can be written."""
    for folder in dict.fromkeys(task.target.absolute().parent for task in tasks if task.target is not None):
        existing = next(parent for parent in (folder, *folder.parents) if os.path.lexists(parent))
        if not existing.is_dir():
            raise OutputError(f"results cannot be written to {str(folder)!r}: {existing.name!r} is no folder")
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"results cannot be written to {str(existing)!r}: permission denied")
