"""The whole job in one call: ``esc_cli.upscale`` for one picture, ``esc_cli.upscale_files`` for many."""

import difflib
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack, cast, overload

from PIL import Image

from esc_cli.engine.openvino_runtime import KEPT_SHAPES
from esc_cli.errors import ExitCode, InputError, UsageError
from esc_cli.jobs.choice import Chooser, looks_at
from esc_cli.jobs.clips.options import ClipOptions, check_crf, parse_option, parse_rate, parse_time
from esc_cli.jobs.dry_run import with_choices
from esc_cli.jobs.enlarge import Enlarger
from esc_cli.jobs.events import Engine, Event, Listener, Planned, Skipped
from esc_cli.jobs.models import EngineOptions, Models
from esc_cli.jobs.outlook import look_ahead
from esc_cli.jobs.plan import Plan, Request, WhenThere, make_plan
from esc_cli.jobs.recipe import task_recipe
from esc_cli.jobs.run import RunSettings, exit_code, failed, run_plan, target_name, told
from esc_cli.jobs.shard import Shard
from esc_cli.jobs.sources import Failure
from esc_cli.jobs.streams import STDIN
from esc_cli.jobs.task import Task
from esc_cli.media.formats.base import ALL_METADATA
from esc_cli.media.formats.encoding import pillow_image
from esc_cli.media.formats.registry import FORMATS
from esc_cli.media.metadata import fitted, parse_metadata_list
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.pillow import LARGEST_INPUT_PX
from esc_cli.media.read import picture_from_image
from esc_cli.media.size import Geometry
from esc_cli.media.video.encoding import EncodeSettings
from esc_cli.media.write import WriteSettings


class Options(EngineOptions, total=False):
    """All that can be chosen; what concerns the model and the device is described at ``Upscaler``.

    The model may also be ``auto``, and is by default: for each file the shipped one for what the file is.

    Attributes:
        scale: Any factor; by default 4, or the scale of the model.
        size: Instead, a geometry as of ImageMagick: ``1920x``, ``x1080``, ``1920x1080``, ``50%``, ...
        consistency: Correct results until, made small again, they are their source.
        format: The name of a format, such as ``png``; by default each input's own.
        quality: Of lossy formats, 1 to 100.
        metadata: ``all``, ``none``, or of ``exif,icc,xmp,iptc,dpi,text,comment`` those to keep.
        recursive: Look into sub-folders.
        when_there: What to do about results that are there and not up to date: refuse, overwrite or skip.
        max_megapixels: Larger inputs are refused.
        workers: Threads that read and write.
        shard: ``2/8`` does the second of eight shares.
        fail_fast: End at the first failure.
        video_codec: Of clips: an encoder or a codec as FFmpeg names it; by default H.264, or H.265 for more
            than 8 bits.
        crf: Of clips: the constant quality in the encoder's own scale; less is better.
        preset: Of clips: the encoder's preset.
        pixel_format: Of clips: as FFmpeg names it; by default that of the source.
        codec_options: Of clips: more options of the encoder, each ``name=value``.
        deinterlace: Of clips: make interlaced frames whole.
        start: Of clips: where the part that is kept begins: seconds, or ``HH:MM:SS``.
        end: Of clips: where it ends.
        preview: Of clips: so many frames on one picture instead.
        fps: Frames a second of numbered pictures (``frames/%06d.png``).
    """

    scale: float | None
    size: str | None
    consistency: bool
    format: str | None
    quality: int | None
    metadata: str
    recursive: bool
    when_there: WhenThere
    max_megapixels: float | None
    workers: int | None
    shard: str | None
    fail_fast: bool
    video_codec: str | None
    crf: float | None
    preset: str | None
    pixel_format: str | None
    codec_options: Sequence[str]
    deinterlace: bool
    start: str | None
    end: str | None
    preview: int | None
    fps: str | None


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Attributes:
        plan: What was to be done; the targets of its tasks are the results.
        failures: All that failed, in the plan as in the work.
        exit_code: Of the command.
    """

    plan: Plan
    failures: tuple[Failure, ...]

    @property
    def exit_code(self) -> ExitCode:
        """What the command answers."""
        return exit_code(self.plan, self.failures)


def upscale_files(
    inputs: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    listener: Listener | None = None,
    dry_run: bool = False,
    **options: Unpack[Options],
) -> Report:
    """Upscale files, folders and patterns, as the command does.

    A result that is up to date (made from the same bytes by the same model and settings, and not changed
    since) is left as it is. What fails costs a failure in the report, and not the others.

    Args:
        inputs: Files, folders, patterns, or ``-`` for standard input.
        output: A file, a folder, or ``-`` for standard output; by default beside the inputs.
        listener: Is told of everything (``esc_cli.jobs.events``).
        dry_run: Plan only; with ``auto`` pictures are decoded, to say which model each one gets.
        options: See ``Options``.

    Raises:
        EscError: One of its kinds: the run cannot be begun at all, and nothing was written.
        TypeError: There is no such option.
    """
    _check_names(options)
    listener = _ignore if listener is None else listener
    workers = options.get("workers")
    if workers is not None and workers < 1:
        raise UsageError(f"{workers} threads cannot read and write")
    chooser = _chooser(options)
    size, consistency = _geometry(chooser.default, options), options.get("consistency", False)
    request = _request(inputs, output, size, options)
    plan = make_plan(request, lambda task: task_recipe(task, chooser, consistency, request.write))
    if dry_run:
        plan = with_choices(plan, chooser, request.largest_px)
    _announce(plan, chooser, listener, estimate=dry_run or not plan.names_one)
    if dry_run:
        return Report(plan, plan.failures)
    settings = RunSettings(
        request.write, request.largest_px, workers, fail_fast=options.get("fail_fast", False)
    )
    enlarger = Enlarger(chooser.default, size, consistency, _job_px(plan))
    return Report(plan, run_plan(plan, chooser, enlarger, settings, listener))


@overload
def upscale(source: Image.Image, target: None = None, **options: Unpack[Options]) -> Image.Image: ...


@overload
def upscale(
    source: str | Path,
    target: str | Path | None = None,
    *,
    overwrite: bool = False,
    **options: Unpack[Options],
) -> Path: ...


def upscale(
    source: Image.Image | str | Path,
    target: str | Path | None = None,
    *,
    overwrite: bool = False,
    **options: Unpack[Options],
) -> Image.Image | Path:
    """Upscale one picture, from file to file as the command does, or from image to image.

    Args:
        source: A picture file, or a Pillow image in memory.
        target: The result's file, whose ending names the format, or a folder. By default beside the source,
            named by its size. None for an image.
        overwrite: Replace a result that is there already.
        options: As of ``upscale_files``; those about files mean nothing for an image.

    Returns:
        The result's path; for an image, the result as an image, with its metadata in ``info``.

    Raises:
        EscError: One of its kinds (``esc_cli.errors``): nothing was written then.
        TypeError: There is no such option.
    """
    _check_names(options)
    if isinstance(source, Image.Image):
        if target is not None:
            raise UsageError("an image gives an image, which you can save", hint="leave the target out")
        file = PictureFile((picture_from_image(source),))
        return _with_metadata(_enlarged(file, options).first)
    if not isinstance(source, str | os.PathLike):
        raise UsageError(
            f"a picture is a file or a Pillow image, not of the type {type(source).__name__}",
            hint="PIL.Image.fromarray takes arrays, Upscaler takes tensors",
        )
    if Path(source).is_dir():
        raise InputError(f"{str(source)!r} is a folder, not a picture", hint="upscale_files takes folders")
    if STDIN in (str(source), str(target)):
        raise UsageError("standard input and output are for the command; name files")
    if not os.path.lexists(source):
        raise InputError(f"{source}: there is no such file")  # and no pattern either
    options["when_there"] = "overwrite" if overwrite else "refuse"
    options["shard"] = None  # of one there is but one share
    report = upscale_files([source], target, **options)
    if report.failures:
        raise report.failures[0].error
    (written,) = (task.target for task in report.plan.tasks if task.target is not None)
    return written


def _check_names(options: Options) -> None:
    """Refuse misspelt options, which Python takes as what others may mean something by."""
    known = Options.__optional_keys__ | Options.__required_keys__
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise TypeError(f"there is no option {name!r}{hint}")


def _enlarged(file: PictureFile, options: Options) -> PictureFile:
    chooser = _chooser(options)
    size = _geometry(chooser.default, options)
    height, width = size.size_of(file.first.height, file.first.width)
    factor = max(height / file.first.height, width / file.first.width)
    choice = chooser.choose(factor, lambda: looks_at(file))
    return Enlarger(chooser.models(choice), size, options.get("consistency", False))(file)


def _chooser(options: Options) -> Chooser:
    chosen = {key: value for key, value in options.items() if key in EngineOptions.__annotations__}
    return Chooser(**cast(EngineOptions, chosen))


def _geometry(models: Models, options: Options) -> Geometry:
    """Find out what size is wanted; a factor's network is loaded at once, to fail before the work."""
    scale, size = options.get("scale"), options.get("size")
    if scale is not None and size is not None:
        raise UsageError("a scale and a size contradict each other", hint="choose -s or --size")
    if size is not None:
        return Geometry.parse(size)
    if scale is None:
        return Geometry.of_scale(models.default().scale)
    geometry = Geometry.of_scale(scale)
    models.upscaler(scale)
    return geometry


def _request(
    inputs: Sequence[str | Path], output: str | Path | None, size: Geometry, options: Options
) -> Request:
    max_megapixels, shard = options.get("max_megapixels"), options.get("shard")
    if max_megapixels is not None and not 0 < max_megapixels < math.inf:
        raise UsageError(f"{max_megapixels:g} megapixels are no limit for inputs")
    keep = parse_metadata_list(options.get("metadata", "all"))
    return Request(
        inputs=tuple(str(name) for name in inputs),
        size=size,
        output=None if output is None else str(output),
        extension=options.get("format"),
        recursive=options.get("recursive", False),
        when_there=options.get("when_there", "refuse"),
        shard=None if shard is None else Shard.parse(shard),
        largest_px=LARGEST_INPUT_PX if max_megapixels is None else int(max_megapixels * 10**6),
        write=WriteSettings(options.get("quality"), keep),
        clips=_clip_options(options),
    )


def _clip_options(options: Options) -> ClipOptions:
    check_crf(options.get("crf"))
    start, end, fps = options.get("start"), options.get("end"), options.get("fps")
    return ClipOptions(
        encode=EncodeSettings(
            codec=options.get("video_codec"),
            crf=options.get("crf"),
            preset=options.get("preset"),
            pixel_format=options.get("pixel_format"),
            options=tuple(parse_option(text) for text in options.get("codec_options", ())),
        ),
        deinterlace=options.get("deinterlace", False),
        start_s=None if start is None else parse_time(start),
        end_s=None if end is None else parse_time(end),
        preview=options.get("preview"),
        frame_rate=None if fps is None else parse_rate(fps),
    )


def _job_px(plan: Plan) -> dict[tuple[int, int], int]:
    """Add up the pixels of each of the most frequent sizes, for which a runtime may be started.

    Of all pictures of the run, those done already too: a run that was ended goes on in the same way.
    """
    by_size: Counter[tuple[int, int]] = Counter()
    for task in (*plan.tasks, *plan.up_to_date):
        by_size[task.probe.height, task.probe.width] += task.low_px
    return dict(by_size.most_common(KEPT_SHAPES))


def _announce(plan: Plan, chooser: Chooser, listener: Listener, *, estimate: bool) -> None:
    """Tell what will be done, what is done already and what cannot be done."""
    for task in plan.tasks:
        listener(_planned(task, chooser))
    for task, reason in (
        *((task, "up to date") for task in plan.up_to_date),
        *((task, "there already") for task in plan.skipped),
    ):
        listener(Skipped(task.source.name, target_name(task), reason))
    for failure in plan.failures:
        listener(failed(failure))
    for engine in _engines(plan, chooser):
        listener(engine)
    if estimate:
        listener(look_ahead(plan, chooser))


def _engines(plan: Plan, chooser: Chooser) -> Iterator[Engine]:
    """Describe each model that is known to be run, by the largest factor that it is run for."""
    factors: dict[Models, float] = {}
    for task in plan.tasks:
        if task.choice is not None or not chooser.is_auto:
            models = chooser.models(task.choice)
            factors[models] = max(factors.get(models, 0), task.factor)
    for models, factor in factors.items():
        engine = models.engine(factor)
        if engine is not None:
            yield engine


def _planned(task: Task, chooser: Chooser) -> Planned:
    unread = chooser.name if chooser.default.enlarges(task.factor) else None
    model, reason = (unread, None) if task.choice is None else told(task.choice)
    return Planned(
        input=task.source.name,
        output=target_name(task),
        format=task.format.name,
        height=task.probe.height,
        width=task.probe.width,
        output_height=task.height,
        output_width=task.width,
        frames=task.probe.frames,
        lost=task.lost,
        model=model,
        model_reason=reason,
    )


def _with_metadata(picture: Picture) -> Image.Image:
    """Give a picture as an image whose ``info`` holds what that of an opened file does, but a PNG's text."""
    image = pillow_image(picture)
    metadata = fitted(picture.metadata, FORMATS["PNG"], picture.height, picture.width, ALL_METADATA, None)
    held = {
        "icc_profile": metadata.icc_profile,
        "exif": metadata.exif,
        "xmp": metadata.xmp,
        "dpi": metadata.dpi,
        "comment": metadata.comment,
    }
    image.info.update({key: value for key, value in held.items() if value is not None})
    return image


def _ignore(event: Event) -> None:
    """Tell nobody."""
