"""Make the result of one task: read, enlarge, write, and record it.

This is the same work on one machine and on the workers of a cluster.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch

from esc_cli.engine.memory.free import host_free_bytes
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.threads import threads_in_use
from esc_cli.enhancement.choice import Choice, Chooser, looks_at
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.enhancement.models import Models
from esc_cli.errors import InputError
from esc_cli.evaluation.viewer.page import written_page
from esc_cli.jobs.archives.run import Encoded, PageWork, looks_at_archive, make_archive
from esc_cli.jobs.archives.task import ArchiveTask
from esc_cli.jobs.clips.division import Division, Part, Turn, make_part, times_of
from esc_cli.jobs.clips.outputs import ContainerFile, identity_of
from esc_cli.jobs.clips.run import EnlargedFrames, FrameEnlarger, Made, PublishMade, make_clip
from esc_cli.jobs.clips.samples import looks_at_clip
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.estimate import seconds_of_whole
from esc_cli.jobs.events import Done, Engine, Listener, Progressed, Started
from esc_cli.jobs.in_place import set_original_aside
from esc_cli.jobs.memory import check_room_for_reading, check_room_for_result
from esc_cli.jobs.options import Options
from esc_cli.jobs.pipeline import EndedError, EndOfRun
from esc_cli.jobs.plan import refuse_existing
from esc_cli.jobs.previews.making import Preview, make_preview
from esc_cli.jobs.previews.task import PreviewTask
from esc_cli.jobs.record import Account, Stamp, stamp_unchanged, status_of, write_record
from esc_cli.jobs.streams import STDOUT, write_stdout
from esc_cli.jobs.task import PictureTask, Task
from esc_cli.media.metadata.fitting import metadata_lost
from esc_cli.media.picture import PictureFile, WriteSettings
from esc_cli.media.read import read_file
from esc_cli.media.write import encode_file, held_by
from esc_cli.storage.whole_files import set_modified, write_whole


@dataclass(frozen=True)
class Loaded:
    """A picture file in memory, with the identity of the file that was read and the chosen model."""

    file: PictureFile
    stamp: Stamp | None
    choice: Choice | None


@dataclass(frozen=True)
class HighFile:
    """A result that is not written yet. For a preview, ``file`` holds its sheet."""

    file: PictureFile
    stamp: Stamp | None
    choice: Choice | None
    seconds: float
    ways: tuple[str, ...]
    repeated: int
    preview: Preview | None = None
    whole_seconds: float | None = None


class SkipError(Exception):
    """A result appeared after planning and is kept. The message is the ``reason`` of ``Skipped``."""


class Work:
    """The work on the tasks of a run.

    Args:
        chooser: The chooser of each file's model.
        enlarger: The enlarger for the size of the results. Its models are replaced by those of each file.
        options: The options of the run.
        total: Number of tasks of the run, for events.
        listener: A function that receives the events of the work.
        told_of: Names of the models whose ``engine`` event was already sent. Further names are added to it.
    """

    def __init__(
        self,
        chooser: Chooser,
        enlarger: Enlarger,
        options: Options,
        total: int,
        listener: Listener,
        told_of: set[str],
    ) -> None:
        self._chooser = chooser
        self._enlarger = enlarger
        self._options = options
        self._total = total
        self._listener = listener
        self._told_of = told_of
        self._free_bytes = host_free_bytes()

    def read(self, task: PictureTask) -> Loaded:
        """Read a picture and choose its model.

        Raises:
            InputError: The picture cannot be read, or it changed after the work was planned.
            OutOfMemoryError: There is too little memory.
            SkipError: The result appeared after planning.
        """
        source = task.source.content
        self._check_free(task)
        check_room_for_reading(task, self._free_bytes)
        if isinstance(source, bytes):
            file, stamp = self._read_file(source), None
        else:
            file, stamp = self._read_path(task, cast(Path, source))  # frames from a pipe belong to a clip
        return Loaded(file, stamp, self._chooser.choose(task.factor, lambda: looks_at(file)))

    def _read_path(self, task: PictureTask, source: Path) -> tuple[PictureFile, Stamp | None]:
        before = status_of(source)
        file = self._read_file(source)
        if (file.first.height, file.first.width) != (task.probe.height, task.probe.width):
            raise InputError(f"{source} changed after the work was planned")
        return file, None if task.recipe is None else stamp_unchanged(source, before)

    def _read_file(self, source: Path | bytes) -> PictureFile:
        return read_file(source, self._options.largest_px, keep_damaged=self._options.keeps_damaged)

    def enlarge(self, task: PictureTask, loaded: Loaded) -> HighFile:
        """Enlarge a picture that was read.

        Raises:
            DeviceError: The device cannot run the network, or has too little memory.
            SkipError: The result appeared after planning.
        """
        self._check_free(task)
        if isinstance(task, PreviewTask):
            return self._preview(task, loaded)
        name, enlarger = task.source.name, partial(self._begun_by, task, loaded.choice)
        return self._enlarged(
            task, loaded, enlarger, lambda done, total: self._listener(Progressed(name, done, total))
        )

    def _enlarged(
        self,
        task: PictureTask,
        loaded: Loaded,
        begin: Callable[[], Enlarger],
        report: Callable[[int, int], None],
    ) -> HighFile:
        low = held_by(task.format, loaded.file)
        check_room_for_result(task, low, self._free_bytes)
        enlarger, begun = begin(), time.monotonic()
        result = enlarger(low, report)
        seconds = seconds_since(begun)
        return HighFile(result.file, loaded.stamp, loaded.choice, seconds, result.ways, result.repeated)

    def _preview(self, task: PreviewTask, loaded: Loaded) -> HighFile:
        """Enlarge parts of a picture, and estimate the time for the whole."""
        name, enlarger = task.source.name, self._begun_by(task, loaded.choice)
        begun = time.monotonic()
        preview = make_preview(
            task,
            loaded.file.first,
            enlarger,
            lambda done, total: self._listener(Progressed(name, done, total)),
        )
        seconds = seconds_since(begun)
        whole_seconds = None if task.exact else seconds_of_whole(task, enlarger.models)
        file = PictureFile((preview.sheet,))
        return HighFile(file, None, loaded.choice, seconds, (), 0, preview, whole_seconds)

    def _begun_by(self, task: Task, choice: Choice | None) -> Enlarger:
        """Report that the network begins with a task, and return the enlarger that runs it.

        When a chosen model is used for the first time, its ``engine`` event is reported first.
        """
        models = self._chooser.models(choice)
        if choice is not None and choice.model not in self._told_of:
            self._listener(cast(Engine, engine_event(models, task.factor, self._options.threads)))
            self._told_of.add(choice.model)
        self._listener(Started(task.source.name, task.number, self._total))
        return replace(self._enlarger, models=models)

    def write(self, task: PictureTask, high: HighFile, ended: EndOfRun) -> Done:
        """Encode and publish a result, with its record.

        Args:
            task: The task.
            high: The enlarged picture.
            ended: Whether the run has ended. If it is set, nothing is published any more.

        Raises:
            OutputError: The result cannot be written.
            SkipError: The result appeared after planning.
            EndedError: The run has ended.
        """
        begun = time.monotonic()
        if isinstance(task, PreviewTask) and task.is_page and task.target is not None:
            notes = self._notes(task, high)
            with ended.publishing():
                self._publish_page(task, task.target, high, ended)
        else:
            notes = self._write_picture(task, high, ended)
        first = high.file.first
        seconds = round(high.seconds + seconds_since(begun), 3)
        name, size = task.source.name, (first.height, first.width)
        done = Done(name, target_name(task), *size, seconds, notes, high.ways, *model_and_reason(high.choice))
        parts = () if high.preview is None else high.preview.parts
        return replace(done, repeated=high.repeated, parts=parts, whole_seconds=high.whole_seconds)

    def _write_picture(self, task: PictureTask, high: HighFile, ended: EndOfRun) -> tuple[str, ...]:
        """Write a result, and return the notes on it."""
        begun = time.monotonic()
        encoded = self._encoded(task, high)
        if task.target is None:
            write_stdout(encoded.content)
        else:
            with ended.publishing():
                seconds = round(high.seconds + seconds_since(begun), 3)
                pixels = high.file.first.color.dtype
                account = self._account(task, high.choice, seconds, encoded.notes, high.ways, pixels)
                self._publish(task, task.target, encoded.content, high.stamp, account, ended)
        return encoded.notes

    def _publish_page(self, task: Task, target: Path, high: HighFile, ended: EndOfRun) -> None:
        """Write the page of a preview, unless the run has ended."""
        if ended.is_set():
            raise EndedError
        self._check_free(task)
        preview = cast(Preview, high.preview)
        sizes = [(color.shape[-2], color.shape[-1]) for _, color in preview.layers]
        title = f"{task.source.name}, part {' and '.join(preview.parts)}"
        replace_it = self._options.when_there == "overwrite"
        task.source.make_folder_of_result(target.parent)
        with written_page(target, title, sizes, replace=replace_it) as page:
            for name, color in preview.layers:
                page.add(name, color, {"size": f"{color.shape[-1]}x{color.shape[-2]}"})

    def _encoded(self, task: PictureTask, high: HighFile) -> Encoded:
        models, first = self._chooser.models(high.choice), high.file.first
        provenance = models.provenance(task.factor, first.color.dtype)
        content = encode_file(high.file, task.format, self._write_settings(task, provenance))
        return Encoded(content, self._notes(task, high))

    def _notes(self, task: PictureTask, high: HighFile) -> tuple[str, ...]:
        first = high.file.first
        too_large = metadata_lost(first.metadata, task.format, self._options.write.keep)
        return tuple(dict.fromkeys((*first.notes, *task.lost, *too_large, *_unenlarged(high.choice))))

    def _publish(
        self,
        task: Task,
        target: Path,
        encoded: bytes,
        stamp: Stamp | None,
        account: Account,
        ended: EndOfRun,
    ) -> None:
        """Write a result, unless the run has ended.

        The record is written just before the result gets its name.
        """
        if ended.is_set():
            raise EndedError
        self._check_free(task)
        mode = task.source.mode

        def record(status: os.stat_result) -> None:
            if ended.is_set():
                raise EndedError
            if task.in_place is not None:
                set_original_aside(task, stamp)
            if stamp is not None and task.recipe is not None:
                result = Stamp.of_content(encoded, status)
                write_record(target, stamp, result, task.recipe, account, mode)

        task.source.make_folder_of_result(target.parent)
        replace_it = task.in_place is not None or self._options.when_there == "overwrite"
        write_whole(
            target,
            encoded,
            mode=mode,
            replace=replace_it,
            modified_ns=self._write_settings(task).modified_ns,
            before_publishing=record,
        )

    def _account(
        self,
        task: Task,
        choice: Choice | None,
        seconds: float | None,
        notes: tuple[str, ...],
        ways: Sequence[str],
        pixels: torch.dtype = torch.uint8,
    ) -> Account:
        """Return what the record tells about the making of a result."""
        chosen = self._chooser.models(choice).chosen(task.factor, pixels, ways)
        return Account(model_and_reason(choice)[0], seconds, notes, chosen)

    def _write_settings(self, task: Task, provenance: str | None = None) -> WriteSettings:
        modified_ns = task.source.modified_ns if self._options.keep_dates else None
        return replace(self._options.write, provenance=provenance, modified_ns=modified_ns)

    def make_clip(self, task: ClipTask) -> Done:
        """Make a clip. Its finished parts are kept for a later run, whatever happens.

        Raises:
            InputError: The clip is damaged, or has no frame in the part that is kept.
            DeviceError: The device cannot run the network, or has too little memory.
            OutputError: The result cannot be written.
            SkipError: The result appeared after planning.
        """
        self._check_free(task)
        begun = time.monotonic()
        choice = self._chooser.choose(task.factor, lambda: looks_at_clip(task))
        enlarger = self._begun_by(task, choice)
        original = self._original_of(task)

        def report(frames: int, frames_per_second: float) -> None:
            total = max(frames, task.probe.frames)
            self._listener(clip_progress(task, frames, total, frames_per_second))

        write = self._write_settings(task, enlarger.models.provenance(task.factor))
        made = make_clip(task, enlarger, write, self._publisher(task, choice, original), report)
        return _done(task, made, choice, seconds_since(begun))

    def make_archive(self, task: ArchiveTask, ended: EndOfRun) -> Done:
        """Make an archive. Its finished pages are kept for a later run, whatever happens.

        Args:
            task: The task.
            ended: Whether the run has ended. If it is set, nothing is published any more.

        Raises:
            InputError: The archive is damaged, or a page is, and the task is strict.
            DeviceError: The device cannot run the network, or has too little memory.
            OutputError: The result cannot be written.
            SkipError: The result appeared after planning.
            EndedError: The run has ended.
        """
        self._check_free(task)
        begun, total_px = time.monotonic(), task.low_px
        choice = self._chooser.choose(task.factor, lambda: looks_at_archive(task, self._read_file))
        enlarger = self._begun_by(task, choice)
        publish = self._publisher(task, choice, self._original_of(task))
        pages = EnlargedFrames()

        def read(page: PictureTask, content: bytes) -> Loaded:
            check_room_for_reading(page, self._free_bytes)
            return Loaded(self._read_file(content), None, choice)

        def enlarge(page: PictureTask, loaded: Loaded, report: Callable[[float], None]) -> HighFile:
            nonlocal pages
            high = self._enlarged(page, loaded, lambda: enlarger, lambda done, total: report(done / total))
            pages = EnlargedFrames(high.ways, pages.repeated + high.repeated)
            return high

        def report(done_px: float) -> None:
            self._listener(Progressed(task.source.name, round(done_px), total_px))

        def publish_now(complete: Path | None) -> None:
            ended.check()
            publish(complete, pages.ways)

        work = PageWork(read, enlarge, self._encoded, self._options.workers_here)
        notes = make_archive(task, enlarger.models.name, work, publish_now, report, ended)
        made = Made((task.height, task.width), notes, pages)
        return _done(task, made, choice, seconds_since(begun))

    def _original_of(self, task: Task) -> Stamp | None:
        """Return the state of an input before the work, if the result replaces it."""
        return None if task.in_place is None else Stamp.of(cast(Path, task.source.content))

    def _publisher(self, task: Task, choice: Choice | None, original: Stamp | None = None) -> PublishMade:
        """Return the function that does what must be done just before a result gets its name.

        Args:
            task: The task of a clip or an archive.
            choice: The model.
            original: State of the input before the work, if the result replaces it.
        """
        modified_ns = self._write_settings(task).modified_ns

        def publish(complete: Path | None, ways: Sequence[str]) -> None:
            self._check_free(task)
            if original is not None:
                set_original_aside(task, original)
            if complete is not None and modified_ns is not None:
                set_modified(complete, modified_ns)
            if complete is not None and task.recipe is not None and isinstance(task.source.content, Path):
                source, result = Stamp.of(task.source.content), Stamp.of(complete)
                target, mode = cast(Path, task.target), task.source.mode
                account = self._account(task, choice, None, task.lost, ways)
                write_record(target, source, result, task.recipe, account, mode)

        return publish

    def divide(self, task: ClipTask) -> Division | None:
        """Divide a clip into its segments. None means that one worker must make all of it.

        Raises:
            InputError: The clip cannot be read.
            SkipError: The result appeared after planning.
        """
        self._check_free(task)
        times = times_of(task)
        if times is None:
            return None
        choice = self._chooser.choose(task.factor, lambda: looks_at_clip(task))
        return Division(identity_of(task, self._chooser.models(choice).name), choice, times)

    def make_part(
        self,
        task: ClipTask,
        part: Part,
        identity: Mapping[str, Any] | None,
        choice: Choice | None,
        network: threading.Lock,
        ended: EndOfRun,
    ) -> EnlargedFrames:
        """Make one segment of a clip.

        Args:
            task: The task of the clip.
            part: The segment.
            identity: Everything that the segments depend on.
            choice: The model.
            network: The lock of the network. It is held from the first frame to the last.
            ended: Whether the run has ended. If it is set, no further frame is made.

        Returns:
            How the frames were enlarged.

        Raises:
            InputError: The clip is damaged, or has other frames than its packets state.
            OutputError: The segment cannot be written.
            EndedError: The run has ended.
        """

        def report(frames: int) -> None:
            if ended.is_set():
                raise EndedError
            self._listener(clip_progress(task, frames, len(part.times), 0))

        with Turn(
            network, lambda: FrameEnlarger(self._begun_by(task, choice), task), len(part.times), report
        ) as turn:
            make_part(task, part, identity, turn)
            return turn.enlarged

    def join(self, task: ClipTask, choice: Choice | None, frames: int, ended: EndOfRun) -> Done:
        """Join the segments of a clip, which are all finished, and publish the result.

        Args:
            task: The task of the clip.
            choice: The model.
            frames: Number of frames in all segments.
            ended: Whether the run has ended. If it is set, nothing is published any more.

        Raises:
            InputError: The clip or a segment cannot be read.
            OutputError: The result cannot be written, or this machine does not see all segments.
            SkipError: The result appeared after planning.
            EndedError: The run has ended.
        """
        self._check_free(task)
        begun, publish = time.monotonic(), self._publisher(task, choice)

        def publish_now(complete: Path | None) -> None:
            if ended.is_set():
                raise EndedError
            publish(complete, ())

        written = cast(ContainerFile, task.output.in_segments).join(task, publish_now, frames)
        made = Made(written.size, (*task.lost, *written.notes), EnlargedFrames())
        return _done(task, made, choice, seconds_since(begun))

    def _check_free(self, task: Task) -> None:
        """Check whether the result appeared after planning.

        Raises:
            SkipError: The result is up to date, or is kept because of the options.
            OutputExistsError: The result exists, and the options allow neither replacing nor skipping it.
        """
        if not task.is_there:
            return
        if task.is_up_to_date:
            raise SkipError("up to date")
        if self._options.when_there == "skip":
            raise SkipError("there already")
        if self._options.when_there == "refuse":
            refuse_existing([task])


def engine_event(models: Models, factor: float, threads: int | None) -> Engine | None:
    """Return the event that describes the network, or None if there is nothing to enlarge.

    Args:
        models: The networks.
        factor: The factor that pictures are enlarged by.
        threads: The number of threads that the user asked for, or None.
    """
    upscaler = models.upscaler(factor)
    if upscaler is None:
        return None
    used, reason = threads_in_use(threads) if upscaler.device.type == "cpu" else (None, None)
    return Engine(
        model=models.name,
        passes=models.passes(factor),
        device=upscaler.device_name,
        device_reason=upscaler.device_reason,
        precision=dtype_name(upscaler.precision),
        precision_reason=upscaler.precision_reason,
        attention=upscaler.attention,
        attention_reason=upscaler.attention_reason,
        threads=used,
        threads_reason=reason,
        measured=upscaler.measured,
    )


def clip_progress(task: ClipTask, frames: int, total: int, frames_per_second: float) -> Progressed:
    """Return the event for a number of finished frames of a clip."""
    frame_px = task.probe.height * task.probe.width
    return Progressed(task.source.name, frames * frame_px, total * frame_px, round(frames_per_second, 3))


def _done(task: Task, made: Made, choice: Choice | None, seconds: float) -> Done:
    notes = tuple(dict.fromkeys((*made.notes, *_unenlarged(choice))))
    ways, model = made.frames.ways, model_and_reason(choice)
    return Done(
        task.source.name, target_name(task), *made.size, seconds, notes, ways, *model, made.frames.repeated
    )


def model_and_reason(choice: Choice | None) -> tuple[str | None, str | None]:
    """Return the model and the reason for it, as events contain them."""
    return (None, None) if choice is None else (choice.model, choice.reason)


def _unenlarged(choice: Choice | None) -> tuple[str, ...]:
    """Return the note for a result without a model, which was at most resized."""
    return ("no network was run, since the result is not larger than its source",) if choice is None else ()


def target_name(task: Task) -> str:
    """Return the name of a task's result in events."""
    return STDOUT if task.target is None else str(task.target)


def seconds_since(begun: float) -> float:
    """Return the seconds since a time of ``time.monotonic``, as events contain them."""
    return round(time.monotonic() - begun, 3)
