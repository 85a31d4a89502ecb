"""All decisions before any work: what is made from what, under which name, in which size."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path

from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError, OutputError, OutputExistsError, UsageError, as_ours
from esc_cli.jobs.clips.options import DEFAULT_OPTIONS
from esc_cli.jobs.clips.plan import is_clip, plan_clip
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.naming import (
    Destination,
    choose_format,
    decide_destination,
    results_folder,
    target_path,
)
from esc_cli.jobs.options import DEFAULTS, Options, WhenThere
from esc_cli.jobs.record import RECORDS_FOLDER, made_from, size_and_time
from esc_cli.jobs.sources import Failure, Source, Sources, expand, find_sources
from esc_cli.jobs.task import PictureTask, Task, WriteRecipe
from esc_cli.media.formats.registry import check_fits
from esc_cli.media.limitations import limitations
from esc_cli.media.probe import probe


@dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        inputs: Files, folders, patterns, or ``-``.
        size: Of the results.
        output: A file, a folder or ``-``; None: beside the inputs.
        options: All else.
        keep_records: Write down what each result was made from, so that it is known when it is up to date.
    """

    inputs: tuple[str, ...]
    size: Geometry
    output: str | None = None
    options: Options = DEFAULTS
    keep_records: bool = True


@dataclass(frozen=True)
class Plan:
    """What will be done.

    Attributes:
        tasks: In order, pictures before clips.
        up_to_date: Tasks whose result was made already, from the same input by the same recipe.
        skipped: Tasks whose result is there, whatever it is, and shall stay.
        failures: Inputs that cannot be done, known before the work.
        passed_over: Files in folders that are no pictures, and inputs that are results of others.
        names_one: A single file was named, or a folder without pictures: it fails with its own exit code.
        when_there: What to do about results that turn up during the work.
    """

    tasks: tuple[Task, ...]
    up_to_date: tuple[Task, ...]
    skipped: tuple[Task, ...]
    failures: tuple[Failure, ...]
    passed_over: int
    names_one: bool
    when_there: WhenThere = "refuse"


def make_plan(request: Request, write_recipe: WriteRecipe) -> Plan:
    """Plan a run.

    Args:
        request: What was asked for.
        write_recipe: Tells what a result depends on.

    Raises:
        UsageError: The request contradicts itself.
        OutputExistsError: A result is there already, is not up to date, and shall not be touched.
        OutputError: Two inputs would get one name, a result would replace an input, or its place cannot be
            written to.
    """
    options, names = request.options, expand(request.inputs)
    destination = decide_destination(names, request.output, options.format)
    never = _folders_of_results(names, destination, request.size.label)
    found = find_sources(names, recursive=options.recursive, never=never, shard=options.share)
    own_results = _own_results(found.pictures)
    sources = replace(found, pictures=tuple(one for one in found.pictures if one not in own_results))
    names_one = _names_one(names, sources)
    planned, failures = _plan_tasks(sources, destination, request, write_recipe)
    tasks = _named_apart(planned)
    up_to_date = [task for task in tasks if task.is_up_to_date]
    if names_one and options.clips != DEFAULT_OPTIONS:
        _refuse_pictures(tasks)
    _refuse_collisions(tasks)
    there = [task for task in tasks if task.is_there]
    _refuse_own_inputs(there, sources.pictures)
    _refuse_unreplaceable(there)
    to_do, skipped = _sorted_out(tasks, up_to_date, options.when_there)
    _refuse_unwritable(to_do)
    return Plan(
        tasks=tuple(to_do),
        up_to_date=tuple(up_to_date),
        skipped=tuple(skipped),
        failures=failures,
        passed_over=sources.passed_over + len(own_results),
        names_one=names_one,
        when_there=options.when_there,
    )


def _plan_tasks(
    sources: Sources,
    destination: Destination,
    request: Request,
    write_recipe: WriteRecipe,
) -> tuple[list[Task], tuple[Failure, ...]]:
    """Plan each picture and clip once, under however many names it was given."""
    tasks: dict[tuple[object, object], Task] = {}
    failures = list(sources.failures)
    for source in sources.pictures:
        try:
            task = _plan_task(source, destination, request)
            if isinstance(task, ClipTask):
                task = replace(task, identity=write_recipe(task))
            if request.keep_records and _is_of_single_files(task):
                task = replace(task, recipe=write_recipe(task))
            tasks.setdefault((_real(source.content), _real(task.target)), task)
        except Exception as error:  # noqa: BLE001 - one file ends no other's work, whatever a library makes of it
            failures.append(Failure(source.name, as_ours(error)))
    clips_last = sorted(tasks.values(), key=lambda task: isinstance(task, ClipTask))
    return clips_last, tuple(failures)


def _is_of_single_files(task: Task) -> bool:
    """Tell whether a task has one file as its source and one as its result."""
    makes_one = not isinstance(task, ClipTask) or task.output.is_one_file
    return isinstance(task.source.content, Path) and task.source.content.is_file() and makes_one


def _real(place: Path | bytes | BufferedReader | None) -> object:
    return os.path.realpath(place) if isinstance(place, Path) else place


def _own_results(sources: Sequence[Source]) -> set[Source]:
    """Find inputs that are results of other inputs: a pattern takes them in when it is given once more."""
    paths = {source: source.content for source in sources if isinstance(source.content, Path)}
    if not any((folder / RECORDS_FOLDER).is_dir() for folder in {path.parent for path in paths.values()}):
        return set()
    known = {size_and_time(path) for path in paths.values()} - {None}
    return {source for source, path in paths.items() if made_from(path) in known}


def _plan_task(source: Source, destination: Destination, request: Request) -> Task:
    if is_clip(source):
        task = plan_clip(source, destination, request.size, request.options.clips)
        _check_name(task.target)
        return task
    return _plan_picture(source, destination, request)


def _plan_picture(source: Source, destination: Destination, request: Request) -> PictureTask:
    if isinstance(source.content, BufferedReader):
        raise InputError("frames came through standard input where a picture was expected")
    header = probe(source.content, request.options.largest_px)
    format = choose_format(destination, header.format)
    height, width = request.size.size_of(header.height, header.width)
    check_fits(height, width, format)
    target = target_path(source, destination, format, request.size.label)
    _check_name(target)
    lost = limitations(header, format, request.options.write.keep)
    if height * width * header.frames > request.options.largest_px:
        lost = (*lost, _hard_to_read(height * width * header.frames))
    return PictureTask(
        source=source, target=target, format=format, probe=header, height=height, width=width, lost=lost
    )


def _hard_to_read(pixels: int) -> str:
    """Say before the work that our own result is above our own limit for inputs."""
    return f"to read the result again, this program needs --max-megapixels {math.ceil(pixels / 10**6)}"


def _sorted_out(
    tasks: Iterable[Task], up_to_date: Iterable[Task], when_there: WhenThere
) -> tuple[list[Task], list[Task]]:
    """Divide the tasks which are not up to date into those to do and those to skip.

    Raises:
        OutputExistsError: There are others, and they shall neither be replaced nor skipped.
    """
    finished = {id(task) for task in up_to_date}
    to_do: list[Task] = []
    others: list[Task] = []
    for task in tasks:
        if id(task) not in finished:
            (others if task.is_there and when_there != "overwrite" else to_do).append(task)
    if when_there == "refuse":
        refuse_existing(others)
    return to_do, others


def _names_one(names: Sequence[str], sources: Sources) -> bool:
    """Tell whether all there is is one file, or one folder that came to nothing."""
    is_folder = os.path.isdir(names[0]) and sources.pictures  # noqa: PTH112 - as in sources
    return len(names) == 1 and not is_folder


def _check_name(target: Path | None) -> None:
    """Find out whether the system would take a name at all: it may be too long with its scale."""
    try:
        if target is not None:
            target.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise OutputError(f"cannot write {str(target)!r}: {error.strerror}") from error


def _folders_of_results(names: Sequence[str], destination: Destination, label: str) -> list[Path]:
    if destination.path is not None:
        return [destination.path]
    folders = (Path(name) for name in names if os.path.isdir(name))  # noqa: PTH112 - as in sources
    return [results_folder(folder, label) for folder in folders]


def _named_apart(tasks: Sequence[Task]) -> list[Task]:
    """Put the source's ending into a name that several results would get: a_jpg.png beside a.png."""
    shared = Counter(_real(task.target) for task in tasks if task.target is not None)
    return [
        replace(task, target=_with_ending(task.target, task.source))
        if task.target is not None and shared[_real(task.target)] > 1
        else task
        for task in tasks
    ]


def _with_ending(target: Path, source: Source) -> Path:
    ending = source.relative.suffix
    if ending.lower() == target.suffix.lower():
        return target
    return target.with_name(f"{target.stem}_{ending[1:]}{target.suffix}")


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


def _refuse_pictures(tasks: Iterable[Task]) -> None:
    """Among many files there may be no clip today; who names one file means it."""
    for task in tasks:
        if isinstance(task, PictureTask):
            raise UsageError(f"{task.source.name} is a picture, for which the options of clips mean nothing")


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
