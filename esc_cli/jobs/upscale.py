"""Do the whole job in one call: ``esc_cli.upscale`` for one picture, ``esc_cli.upscale_files`` for many."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from esc_cli.engine.executors.base import KEPT_SHAPES
from esc_cli.engine.threads import computing_with
from esc_cli.engine.tuning.figures import Amount
from esc_cli.enhancement.choice import Chooser, looks_at
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.size import Geometry
from esc_cli.errors import EscError, ExitCode, InputError, UsageError, as_ours
from esc_cli.jobs.announcement import announce
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.cluster.driver import Driver
from esc_cli.jobs.cluster.worker import AT_ONCE, IDLE_BYTES, Job
from esc_cli.jobs.estimate import Timed, with_choices
from esc_cli.jobs.events import Event, Listener
from esc_cli.jobs.memory import high_bytes, low_bytes
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import WAITING
from esc_cli.jobs.plan import Plan, Request, make_plan
from esc_cli.jobs.recipe import task_recipe
from esc_cli.jobs.record import redate, size_and_time
from esc_cli.jobs.run import Outcomes, exit_code, outcomes_here, run_plan
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.streams import STDIN
from esc_cli.jobs.task import Task
from esc_cli.jobs.work.context import RunContext
from esc_cli.jobs.work.work import Work
from esc_cli.media.formats.encoding import pillow_image, values_of
from esc_cli.media.formats.registry import DEFAULT_FORMAT
from esc_cli.media.metadata.fitting import fitted
from esc_cli.media.metadata.iptc import IPTC_RESOURCE
from esc_cli.media.metadata.kinds import ALL_METADATA
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.read import picture_from_array, picture_from_image
from esc_cli.version import program_version


@dataclass(frozen=True)
class Report:
    """The outcome of a run.

    Attributes:
        plan: The plan of the run. The targets of its tasks are the results.
        failures: All failures, those of the plan and those of the work.
        exit_code: The exit code of the command.
    """

    plan: Plan
    failures: tuple[Failure, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        return exit_code(self.plan, self.failures)


def upscale_files(
    inputs: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    listener: Listener | None = None,
    dry_run: bool = False,
    **options: Any,
) -> Report:
    """Upscale files, folders and patterns, as the command does.

    A result that is up to date (made from the same bytes by the same model and settings, and not changed
    since) is left as it is. An input that fails adds a failure to the report and does not stop the others.

    Args:
        inputs: Files, folders, patterns, or ``-`` for standard input.
        output: A file, a folder, or ``-`` for standard output. By default, results go beside the inputs.
        listener: A function that receives all events (see ``esc_cli.jobs.events``).
        dry_run: Whether to make only the plan. With ``auto``, pictures are decoded to find the model of each.
        options: See ``Options``.

    Raises:
        EscError: The run cannot begin, and nothing was written. The error is an instance of a subclass.
        TypeError: An option does not exist.
    """
    listener = _ignore if listener is None else listener
    chosen = Options.of(options)
    with computing_with(chosen.threads):
        return run_job(inputs, output, chosen, listener, dry_run=dry_run)


def run_job(
    inputs: Sequence[str | Path],
    output: str | Path | None,
    options: Options,
    listener: Listener,
    *,
    dry_run: bool = False,
    keep_records: bool = True,
    chooser: Chooser | None = None,
    only: frozenset[Path] | None = None,
) -> Report:
    """Plan a run and carry it out; see ``upscale_files``.

    Args:
        inputs: Files, folders, patterns, or ``-`` for standard input.
        output: A file, a folder, or ``-`` for standard output. None means beside the inputs.
        options: All options.
        listener: A function that receives all events.
        dry_run: Whether to make only the plan.
        keep_records: Whether to record how each result was made.
        chooser: The networks of an earlier run with the same options. None means that they are loaded.
        only: The files of the folders that are taken. None means all.

    Raises:
        EscError: The run cannot begin, and nothing was written. The error is an instance of a subclass.
    """
    untuned = chooser or Chooser(options)
    size = geometry_of(untuned.default, options)
    target = None if output is None else str(output)
    request = Request(tuple(map(str, inputs)), size, target, options, keep_records, untuned.name, only)
    plan = make_plan(request, lambda task: task_recipe(task, untuned, options))
    measures = dry_run or _makes_whole_previews(options)
    if measures:
        plan = with_choices(plan, untuned, options)
    elif options.keep_dates:
        plan = _with_dates(plan)
    here = dry_run or options.cluster is None
    is_work = here and options.previewed is None  # a preview takes about as long as the measurements
    may_tune = is_work and not dry_run and plan.tasks
    chooser = untuned.tuned(_amount(plan), anew=options.retune) if may_tune else untuned
    timed: Timed = "always" if measures else "if cheap" if is_work else "never"
    announce(plan, chooser, listener, timed, here=here, threads=options.threads)
    if dry_run:
        return Report(plan, plan.failures)
    work = _work_here if here else _work_on_cluster
    outcomes = work(plan, chooser, size, options, listener)
    return Report(plan, run_plan(plan, outcomes, options, listener))


def _makes_whole_previews(options: Options) -> bool:
    """Return whether previews take as long as whole results, so that the time is said before."""
    return options.previewed is not None and options.tiling == "exact"


def _with_dates(plan: Plan) -> Plan:
    """Set the dates of results that are up to date. Return the plan with those that it failed for."""
    failures = []
    for task in plan.up_to_date:
        target, modified_ns = cast(Path, task.target), task.source.modified_ns
        try:
            if modified_ns is not None and (size_and_time(target) or (0, 0))[1] != modified_ns:
                redate(target, modified_ns)
        except EscError as error:
            failures.append(Failure(task.source.name, as_ours(error)))
    return replace(plan, failures=(*plan.failures, *failures))


def _work_here(
    plan: Plan, chooser: Chooser, size: Geometry, options: Options, listener: Listener
) -> Outcomes:
    enlarger = Enlarger.of(options, chooser.default, size, _job_px(plan))
    told_of = set() if chooser.is_auto else {chooser.name}
    context = RunContext(chooser, enlarger, options, len(plan.tasks), listener, told_of)
    return outcomes_here(plan, Work(context), options)


def _work_on_cluster(
    plan: Plan, chooser: Chooser, size: Geometry, options: Options, listener: Listener
) -> Outcomes:
    """Return the outcomes of the work on the workers of a cluster.

    Raises:
        UsageError: A stream is among the inputs or outputs, which other processes cannot read or write.
    """
    places = [(task.source.content, task.target) for task in plan.tasks]
    if any(task.source.is_stdin or task.target is None for task in plan.tasks):
        raise UsageError("a cluster cannot use standard input and output", hint="name files")
    factor = max((task.factor for task in plan.tasks), default=1.0)
    parts = [part for task in plan.tasks for part in task.parts]
    job = Job(
        options=options.but(cluster=None),
        size=size,
        job_px=_job_px(plan),
        total=len(plan.tasks),
        folder=Path.cwd(),
        version=program_version(),
        networks=(factor, chooser.recipe(factor)),
        worker_bytes=IDLE_BYTES + AT_ONCE * max(map(_picture_bytes, parts), default=0),
        places=cast("tuple[tuple[Path, Path], ...]", tuple(places[:1])),
    )
    return Driver(str(options.cluster), job, listener).outcomes(plan.tasks)


def _picture_bytes(task: Task) -> int:
    """Return the memory of a task. Of a clip, only a few frames are in memory, unless all must be."""
    is_stream = isinstance(task, ClipTask) and not task.output.holds_all_frames
    frames = task.probe.frames / WAITING if is_stream else 1
    return round((low_bytes(task) + high_bytes(task)) / max(frames, 1))


@overload
def upscale(source: Image.Image, target: None = None, **options: Any) -> Image.Image: ...


@overload
def upscale(source: npt.NDArray[Any], target: None = None, **options: Any) -> npt.NDArray[Any]: ...


@overload
def upscale(
    source: str | Path,
    target: str | Path | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Path: ...


def upscale(
    source: Image.Image | npt.NDArray[Any] | str | Path,
    target: str | Path | None = None,
    *,
    overwrite: bool = False,
    **options: Any,
) -> Image.Image | npt.NDArray[Any] | Path:
    """Upscale one picture, from file to file as the command does, from image to image, or array to array.

    Args:
        source: A picture file, a Pillow image, or an array: (H, W) gray, or (H, W, C) with gray, gray and
            alpha, RGB, or RGB and alpha, of uint8, uint16, or floats in [0, 1].
        target: The file of the result, whose extension names the format, or a folder. By default, the result
            lies beside the source and has the size in its name. None for an image and an array.
        overwrite: Whether to replace a result that already exists.
        options: See ``Options``. Options about files have no effect on an image or an array.

    Returns:
        The path of the result. For an image, the result as an image, with its metadata in ``info``. For an
        array, the result as an array of the same type and number of dimensions and channels.

    Raises:
        EscError: The picture cannot be upscaled, and nothing was written. The error is an instance of a
            subclass (see ``esc_cli.errors``).
        TypeError: An option does not exist.
    """
    chosen = Options.of(options)
    if isinstance(source, Image.Image | np.ndarray):
        if target is not None:
            raise UsageError(
                "only the result of a file can have a target", hint="leave it out and save what is returned"
            )
        with computing_with(chosen.threads):
            if isinstance(source, np.ndarray):
                return _enlarged_array(source, chosen)
            picture = picture_from_image(source, keep_damaged=chosen.keeps_damaged)
            return _with_metadata(_enlarged(picture, chosen))
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"the source must be a file, a Pillow image or an array, not of the type {type(source).__name__}",
            hint="use PIL.Image.open for the bytes of a file, and Upscaler for tensors",
        )
    if Path(source).is_dir():
        raise InputError(f"{str(source)!r} is a folder, not a picture", hint="use upscale_files for folders")
    if chosen.in_place:
        raise UsageError("a picture is replaced only by the command and by upscale_files")
    if STDIN in (str(source), str(target)):
        raise UsageError("only the command can use standard input and output, so name files")
    if not os.path.lexists(source):
        raise InputError(f"{source}: there is no such file")  # patterns are refused, too
    # A single picture is not divided into shards.
    chosen = chosen.but(when_there="overwrite" if overwrite else "refuse", shard=None)
    with computing_with(chosen.threads):
        report = run_job([source], target, chosen, _ignore, keep_records=False)
    if report.failures:
        raise report.failures[0].error
    (written,) = (task.target for task in report.plan.tasks if task.target is not None)
    return written


def _enlarged_array(array: npt.NDArray[Any], options: Options) -> npt.NDArray[Any]:
    values = values_of(_enlarged(picture_from_array(array), options)).astype(array.dtype.newbyteorder("="))
    return values.reshape(values.shape[: array.ndim])


def _enlarged(picture: Picture, options: Options) -> Picture:
    file = PictureFile((picture,))
    chooser = Chooser(options)
    size = geometry_of(chooser.default, options)
    height, width = size.size_of(picture.height, picture.width)
    factor = max(height / picture.height, width / picture.width)
    choice = chooser.choose(factor, lambda: looks_at(file))
    return Enlarger.of(options, chooser.models(choice), size)(file).file.first


def geometry_of(models: Models, options: Options) -> Geometry:
    """Return the requested size.

    If it is a scale, its network is loaded at once, so that an error occurs before the work.

    Raises:
        UsageError: The size is not valid, or out of the model's reach.
    """
    if options.size is not None:
        return Geometry.parse(options.size)
    if options.scale is None:
        return Geometry.of_scale(models.default().scale)
    geometry = Geometry.of_scale(options.scale)
    models.upscaler(options.scale)
    return geometry


def _amount(plan: Plan) -> Amount:
    """Return the work of a run. Pictures that are already done count, too; see ``_job_px``."""
    size, same_px = max(_job_px(plan).items(), key=lambda one: one[1])
    return Amount(sum(task.low_px for task in (*plan.tasks, *plan.up_to_date)), same_px, size)


def _job_px(plan: Plan) -> dict[tuple[int, int], int]:
    """Return the total number of pixels for each of the most frequent sizes.

    A runtime may be started for these sizes. Pictures that are already done count, too, so that an
    interrupted run goes on in the same way.
    """
    by_size: Counter[tuple[int, int]] = Counter()
    for task in (*plan.tasks, *plan.up_to_date):
        for part in task.parts:
            by_size[part.probe.height, part.probe.width] += part.low_px
    return dict(by_size.most_common(KEPT_SHAPES))


def _with_metadata(picture: Picture) -> Image.Image:
    """Return a picture as an image, whose ``info`` holds the metadata under the names that Pillow uses.

    A new kind of metadata is there under the name of its field. The text of a PNG is left out.
    """
    image = pillow_image(picture)
    metadata = fitted(picture.metadata, DEFAULT_FORMAT, picture.height, picture.width, ALL_METADATA, None)
    held = {name: getattr(metadata, name) for name in ALL_METADATA - {"text", "iptc"}}
    if metadata.iptc is not None:
        held["photoshop"] = {IPTC_RESOURCE: metadata.iptc}
    image.info.update({name: value for name, value in held.items() if value is not None})
    return image


def _ignore(event: Event) -> None:
    """Ignore an event."""
