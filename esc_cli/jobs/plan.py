"""Make all decisions before any work: the source, the name and the size of each result."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BufferedReader
from pathlib import Path

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import InputError, UsageError, as_ours
from esc_cli.jobs.archives.plan import plan_archive
from esc_cli.jobs.archives.task import ArchiveTask
from esc_cli.jobs.clips.options import DEFAULT_OPTIONS
from esc_cli.jobs.clips.plan import becomes_clip, is_clip, plan_clip
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.file_lists import names_in_list
from esc_cli.jobs.in_place import refuse_lost_backups, replacing
from esc_cli.jobs.naming import Destination, choose_format, destination_of, results_folder, target_path
from esc_cli.jobs.options import DEFAULTS, Options, WhenThere
from esc_cli.jobs.previews.request import PREVIEW_LABEL
from esc_cli.jobs.previews.task import PreviewTask, plan_preview
from esc_cli.jobs.record import RECORDS_FOLDER, made_from, size_and_time
from esc_cli.jobs.refusals import (
    refuse_collisions,
    refuse_existing,
    refuse_impossible_name,
    refuse_replacing,
    refuse_unwritable,
)
from esc_cli.jobs.sources import Failure, Source, Sources, expand, find_sources, without_extension
from esc_cli.jobs.task import PictureTask, Task, WriteRecipe
from esc_cli.media.archives import is_archive
from esc_cli.media.formats.registry import check_fits
from esc_cli.media.limitations import limitations
from esc_cli.media.probe import probe


@dataclass(frozen=True)
class Request:
    """The request of the user.

    Attributes:
        inputs: Files, folders, patterns, or ``-``.
        size: The rule for the size of the results.
        output: A file, a folder or ``-``. None means beside the inputs.
        options: All other options.
        keep_records: Whether to record how each result was made, so that a later run can skip it if it is up
            to date.
        model: The name of the model, for the names of results.
        only: The files of the folders that are taken. None means all.
    """

    inputs: tuple[str, ...]
    size: Geometry
    output: str | None = None
    options: Options = DEFAULTS
    keep_records: bool = True
    model: str = AUTO_MODEL
    only: frozenset[Path] | None = None


@dataclass(frozen=True)
class Plan:
    """The plan of a run.

    Attributes:
        tasks: The tasks to do, in order, pictures before clips and archives.
        up_to_date: Tasks whose result was already made from the same input by the same recipe.
        skipped: Tasks whose result exists, is not up to date, and is kept.
        failures: Inputs that are known before the work to fail.
        passed_over: Number of files in folders that are neither pictures nor clips, and of inputs that are
            results of other inputs.
        names_one: Whether a single file was named, or a single folder without pictures. If it fails, the run
            ends with the exit code of its error.
    """

    tasks: tuple[Task, ...]
    up_to_date: tuple[Task, ...]
    skipped: tuple[Task, ...]
    failures: tuple[Failure, ...]
    passed_over: int
    names_one: bool


def make_plan(request: Request, write_recipe: WriteRecipe) -> Plan:
    """Plan a run.

    Args:
        request: The request of the user.
        write_recipe: A function that returns the recipe of a task.

    Raises:
        UsageError: The request contradicts itself.
        InputError: The list of inputs cannot be read.
        OutputExistsError: A result already exists, is not up to date, and must not be touched.
        OutputError: Two results would have the same name, a result would replace an input, or the folder of a
            result cannot be written to.
    """
    options, names = request.options, expand(request.inputs)
    listed = names_in_list(options.files_from)
    destination = destination_of(names, request.output, options)
    sources = _found_sources(names, listed, destination, request)
    names_one = not options.lists_files and _names_one(names, sources)
    planned, failures = _plan_tasks(sources, destination, request, write_recipe)
    tasks = _named_apart(planned)
    up_to_date = [task for task in tasks if task.is_up_to_date]
    if names_one and replace(options.clips.apart_from_damage, preview=None) != DEFAULT_OPTIONS:
        _refuse_options_for_clips(tasks)
    refuse_collisions(tasks, options)
    named = [task.target for task in tasks if task.target is not None and task.in_place is None]
    refuse_replacing(named, sources.pictures)
    to_do, skipped = _sorted_out(tasks, up_to_date, options.when_there)
    refuse_lost_backups(to_do)
    refuse_unwritable(file for task in to_do for file in (task.target, task.backup) if file is not None)
    return Plan(
        tasks=tuple(replace(task, number=number) for number, task in enumerate(to_do, start=1)),
        up_to_date=tuple(up_to_date),
        skipped=tuple(skipped),
        failures=failures,
        passed_over=sources.passed_over,
        names_one=names_one,
    )


def _found_sources(
    names: Sequence[str], listed: Sequence[str], destination: Destination, request: Request
) -> Sources:
    """Find the inputs. Results of other inputs are passed over."""
    options = request.options
    never = _folders_of_results((*names, *listed), destination, request.size.label)
    found = find_sources(
        names,
        listed=listed,
        recursive=options.recursive,
        never=never if options.backup is None else [*never, Path(options.backup)],
        shard=options.share,
        only=request.only,
    )
    own_results = _own_results(found.pictures)
    return replace(
        found,
        pictures=tuple(one for one in found.pictures if one not in own_results),
        passed_over=found.passed_over + len(own_results),
    )


def _plan_tasks(
    sources: Sources,
    destination: Destination,
    request: Request,
    write_recipe: WriteRecipe,
) -> tuple[list[Task], tuple[Failure, ...]]:
    """Plan each picture and clip once, even if it was named several times."""
    tasks: dict[tuple[object, object], Task] = {}
    failures = list(sources.failures)
    for source in sources.pictures:
        try:
            task = _plan_task(source, destination, request)
            if isinstance(task, ClipTask | ArchiveTask):
                task = replace(task, identity=write_recipe(task))
            if request.keep_records and _is_of_single_files(task):
                task = replace(task, recipe=write_recipe(task))
            tasks.setdefault((_real(source.content), _real(task.target)), task)
        except Exception as error:  # noqa: BLE001 - no file stops the others, whatever a library raises
            failures.append(Failure(source.name, as_ours(error)))
    pictures_first = sorted(tasks.values(), key=lambda task: not isinstance(task, PictureTask))
    return pictures_first, tuple(failures)


def _is_of_single_files(task: Task) -> bool:
    """Return whether a task reads one file and writes one file."""
    return isinstance(task.source.content, Path) and task.source.content.is_file() and task.is_one_file


def _real(place: Path | bytes | BufferedReader | None) -> object:
    return os.path.realpath(place) if isinstance(place, Path) else place


def _own_results(sources: Sequence[Source]) -> set[Source]:
    """Return the inputs that are results of other inputs.

    A pattern that is used again also matches the results of the earlier run.
    """
    paths = {source: source.content for source in sources if isinstance(source.content, Path)}
    folders = {path.parent for path in paths.values()}
    if not any(os.path.isdir(folder / RECORDS_FOLDER) for folder in folders):  # noqa: PTH112 - as in sources
        return set()
    known = {size_and_time(path) for path in paths.values()} - {None}
    return {source for source, path in paths.items() if made_from(path) in known}


def _plan_task(source: Source, destination: Destination, request: Request) -> Task:
    task = _plan_by_kind(source, destination, request)
    if request.options.in_place:
        task = replacing(task, request.size.label, request.options.backup)
    target = _named_by_template(task, request)
    refuse_impossible_name(target)
    lost = (*task.lost, *_unused_format(task, destination))
    if request.options.keep_dates and (source.is_stdin or target is None):
        lost = (*lost, "a stream has no date, so none is kept")
    return replace(task, target=target, lost=lost)


def _plan_by_kind(source: Source, destination: Destination, request: Request) -> Task:
    options = request.options
    if is_clip(source) or becomes_clip(source, destination, options.largest_px, options.clips):
        return _plan_clip(source, destination, request)
    if isinstance(source.content, Path) and is_archive(source.content):
        _refuse_preview_of_archive(source, options)
        plan_page = partial(_plan_picture, request=request)
        return plan_archive(source, destination, request.size, plan_page, strict=options.strict)
    return _plan_picture(source, destination, request)


def _plan_clip(source: Source, destination: Destination, request: Request) -> ClipTask:
    options = request.options
    _refuse_part_of_clip(source, options)
    task = plan_clip(source, destination, request.size, options.clips, options.largest_px)
    if task.clip.swaps_sides and options.wraps.turned(1) != options.wraps:
        raise InputError(
            f"{source.name} is stored turned, so its borders can wrap only along both axes",
            hint="use --seamless xy",
        )
    return task


def _unused_format(task: Task, destination: Destination) -> tuple[str, ...]:
    """Return a note if the requested format is for other kinds of input, as one for clips is for pictures."""
    asked = destination.format
    if asked is None or asked.name in {each.format.name for each in (task, *task.parts)}:
        return ()
    return (f"the format {asked.name} does not apply, so the result is {task.format.name}",)


def _named_by_template(task: Task, request: Request) -> Path | None:
    template, target = request.options.template, task.target
    if template is None or target is None:
        return target
    name = template.fill(
        {
            "stem": without_extension(task.source.relative).name,
            "scale": request.size.factor_label(task.factor),
            "width": task.width,
            "height": task.height,
            "model": request.model.replace("/", "_").replace(os.sep, "_"),
        }
    )
    label = PREVIEW_LABEL if isinstance(task, PreviewTask) else ""
    return target.with_name(f"{name}{label}{target.suffix}")


def _refuse_options_for_clips(tasks: Iterable[Task]) -> None:
    """Refuse a picture if there are options for clips.

    This applies to a single named file. Among many files, it is not a mistake if none is a clip.
    """
    for task in tasks:
        if not isinstance(task, ClipTask):
            what = "an archive of pictures" if isinstance(task, ArchiveTask) else "a picture"
            raise UsageError(f"{task.source.name} is {what}, to which the options for clips do not apply")


def _refuse_part_of_clip(source: Source, options: Options) -> None:
    if options.previewed is not None and options.previewed.place is not None:
        raise UsageError(
            f"{source.name} is a clip, and only a picture can be previewed in part",
            hint="use --preview auto, or a number of frames",
        )


def _refuse_preview_of_archive(source: Source, options: Options) -> None:
    if options.previewed is not None:
        raise UsageError(
            f"{source.name} is an archive, and only pictures and clips can be previewed",
            hint="unpack one of its pictures, and preview that",
        )


def _plan_picture(source: Source, destination: Destination, request: Request) -> PictureTask:
    if isinstance(source.content, BufferedReader):
        raise InputError("frames came through standard input where a picture was expected")
    options = request.options
    header = probe(source.content, options.largest_px, keep_damaged=options.keeps_damaged)
    if options.previewed is not None:
        return plan_preview(source, destination, request.size, options, header)
    format = choose_format(destination, header.format)
    height, width = request.size.size_of(header.height, header.width)
    check_fits(height, width, format)
    labels = request.size.label, request.size.file_label((height, width))
    target = target_path(source, destination, format, *labels)
    lost = limitations(header, format, request.options.write.keep)
    hidden = options.alpha_is_data and header.alpha and format.alpha
    if hidden and not format.keeps_hidden_colors(options.quality):
        lost = (*lost, f"{format.name} loses the colors under alpha 0{_as_lossy(options.quality)}")
    if height * width * header.frames > request.options.largest_px:
        lost = (*lost, _hard_to_read(height * width * header.frames))
    return PictureTask(
        source=source, target=target, format=format, probe=header, height=height, width=width, lost=lost
    )


def _as_lossy(quality: int | None) -> str:
    return "" if quality is None else f" at quality {quality}"


def _hard_to_read(pixels: int) -> str:
    """Return the note, before the work, that the result exceeds this program's own limit for inputs."""
    return f"to read the result again, this program needs --max-megapixels {math.ceil(pixels / 10**6)}"


def _sorted_out(
    tasks: Iterable[Task], up_to_date: Iterable[Task], when_there: WhenThere
) -> tuple[list[Task], list[Task]]:
    """Divide the tasks that are not up to date into tasks to do and tasks to skip.

    Raises:
        OutputExistsError: A result exists, and the options allow neither replacing nor skipping it.
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
    """Return whether the user named only one file, or only one folder without pictures."""
    if len(names) != 1:
        return False
    is_folder = os.path.isdir(names[0]) and sources.pictures  # noqa: PTH112 - as in sources
    return not is_folder


def _folders_of_results(names: Sequence[str], destination: Destination, label: str) -> list[Path]:
    if destination.path is not None:
        return [destination.path]
    folders = (Path(name) for name in names if os.path.isdir(name))  # noqa: PTH112 - as in sources
    return [results_folder(folder, label) for folder in folders]


def _named_apart(tasks: Sequence[Task]) -> list[Task]:
    """Add the source's extension to names that results would share: a_jpg.png beside a.png."""
    shared = Counter(_real(task.target) for task in tasks if task.target is not None)
    return [
        _with_ending(task, task.target)
        if task.target is not None and shared[_real(task.target)] > 1
        else task
        for task in tasks
    ]


def _with_ending(task: Task, target: Path) -> Task:
    ending = task.source.relative.suffix
    if ending.lower() == target.suffix.lower():
        return task
    named = target.with_name(f"{target.stem}_{ending[1:]}{target.suffix}")
    return replace(task, target=named, lost=(*task.lost, _NAMED_APART))


_NAMED_APART = "names that several results would share get the extension of the input, as in a_jpg.png"
