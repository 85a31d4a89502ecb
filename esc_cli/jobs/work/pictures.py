"""The work on pictures: read, enlarge, write and record a result."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

from esc_cli.enhancement.choice import Choice, looks_at
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.errors import InputError, OutputExistsError
from esc_cli.evaluation.viewer.page import written_page
from esc_cli.jobs.archives.run import Encoded
from esc_cli.jobs.estimate import seconds_of_whole
from esc_cli.jobs.events import Done, Progressed, seconds_since
from esc_cli.jobs.in_place import set_original_aside
from esc_cli.jobs.made import EnlargedFrames, Made
from esc_cli.jobs.memory import check_room_for_reading, check_room_for_result
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.previews.making import Preview, make_preview
from esc_cli.jobs.previews.task import PreviewTask
from esc_cli.jobs.record import Account, Stamp, stamp_unchanged, status_of, write_record
from esc_cli.jobs.streams import write_stdout
from esc_cli.jobs.task import PictureTask, Task, decoded
from esc_cli.jobs.work.context import RunContext
from esc_cli.jobs.work.events import done_event, notes_on_choice
from esc_cli.media.metadata.fitting import metadata_lost
from esc_cli.media.picture import PictureFile
from esc_cli.media.write import encode_file, held_by
from esc_cli.storage.whole_files import write_whole


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


class PictureMaker:
    """Makes pictures in three steps that may overlap: read, enlarge and write.

    Args:
        context: The networks and the options of the run.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def read(self, task: PictureTask) -> Loaded:
        """Read a picture and choose its model.

        Raises:
            InputError: The picture cannot be read, or it changed after the work was planned.
            OutOfMemoryError: There is too little memory.
            SkipError: The result appeared after planning.
        """
        source = task.source.content
        self._context.check_free(task)
        check_room_for_reading(task, self._context.free_bytes)
        if isinstance(source, bytes):
            file, stamp = decoded(source, self._context.options), None
        else:
            file, stamp = self._read_path(task, cast(Path, source))  # frames from a pipe belong to a clip
        return Loaded(file, stamp, self._context.chooser.choose(task.factor, lambda: looks_at(file)))

    def _read_path(self, task: PictureTask, source: Path) -> tuple[PictureFile, Stamp | None]:
        before = status_of(source)
        file = decoded(source, self._context.options)
        if (file.first.height, file.first.width) != (task.probe.height, task.probe.width):
            raise InputError(f"{source} changed after the work was planned")
        return file, None if task.recipe is None else stamp_unchanged(source, before)

    def read_page(self, task: PictureTask, content: bytes, choice: Choice | None) -> Loaded:
        """Read a page of an archive, whose model was chosen for all pages.

        Raises:
            InputError: The page cannot be read.
            OutOfMemoryError: There is too little memory.
        """
        check_room_for_reading(task, self._context.free_bytes)
        return Loaded(decoded(content, self._context.options), None, choice)

    def enlarge(self, task: PictureTask, loaded: Loaded) -> HighFile:
        """Enlarge a picture that was read.

        Raises:
            DeviceError: The device cannot run the network, or has too little memory.
            SkipError: The result appeared after planning.
        """
        self._context.check_free(task)
        if isinstance(task, PreviewTask):
            return self._preview(task, loaded)
        return self.enlarged(
            task, loaded, partial(self._context.begin, task, loaded.choice), self._reporter(task)
        )

    def enlarged(
        self,
        task: PictureTask,
        loaded: Loaded,
        begin: Callable[[], Enlarger],
        report: Callable[[int, int], None],
    ) -> HighFile:
        """Enlarge a picture that was read, wherever its result goes.

        Args:
            task: The task.
            loaded: The picture.
            begin: Function that returns the enlarger. It is called when there is enough memory.
            report: Function that is called with the work that is done and its total.

        Raises:
            DeviceError: The device cannot run the network, or has too little memory.
        """
        low = held_by(task.format, loaded.file)
        check_room_for_result(task, low, self._context.free_bytes)
        enlarger, begun = begin(), time.monotonic()
        result = enlarger(low, report)
        seconds = seconds_since(begun)
        return HighFile(result.file, loaded.stamp, loaded.choice, seconds, result.ways, result.repeated)

    def _preview(self, task: PreviewTask, loaded: Loaded) -> HighFile:
        """Enlarge parts of a picture, and estimate the time for the whole."""
        enlarger, begun = self._context.begin(task, loaded.choice), time.monotonic()
        preview = make_preview(task, loaded.file.first, enlarger, self._reporter(task))
        seconds = seconds_since(begun)
        whole_seconds = None if task.exact else seconds_of_whole(task, enlarger.models)
        file = PictureFile((preview.sheet,))
        return HighFile(file, loaded.stamp, loaded.choice, seconds, (), 0, preview, whole_seconds)

    def _reporter(self, task: PictureTask) -> Callable[[int, int], None]:
        """Return the function that reports the work that is done on a task, and its total."""
        return lambda done, total: self._context.listener(Progressed(task.source.name, done, total))

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
        made = Made((first.height, first.width), notes, EnlargedFrames(high.ways, high.repeated))
        parts = () if high.preview is None else high.preview.parts
        done = done_event(task, made, high.choice, seconds)
        return replace(done, parts=parts, whole_seconds=high.whole_seconds)

    def _write_picture(self, task: PictureTask, high: HighFile, ended: EndOfRun) -> tuple[str, ...]:
        """Write a result, and return the notes on it."""
        begun = time.monotonic()
        encoded = self.encoded(task, high)
        if task.target is None:
            write_stdout(encoded.content)
        else:
            with ended.publishing():
                seconds = round(high.seconds + seconds_since(begun), 3)
                pixels = high.file.first.color.dtype
                account = self._context.account(task, high.choice, seconds, encoded.notes, high.ways, pixels)
                self._publish(task, task.target, encoded.content, high.stamp, account, ended)
        return encoded.notes

    def _publish_page(self, task: Task, target: Path, high: HighFile, ended: EndOfRun) -> None:
        """Write the page of a preview, unless the run has ended."""
        ended.check()
        self._context.check_free(task)
        preview = cast(Preview, high.preview)
        sizes = [(color.shape[-2], color.shape[-1]) for _, color in preview.layers]
        title = f"{task.source.name}, part {' and '.join(preview.parts)}"
        replace_it = self._context.options.when_there == "overwrite"
        task.source.make_folder_of_result(target.parent)
        with written_page(target, title, sizes, replace=replace_it) as page:
            for name, color in preview.layers:
                page.add(name, color, {"size": f"{color.shape[-1]}x{color.shape[-2]}"})

    def encoded(self, task: PictureTask, high: HighFile) -> Encoded:
        """Encode a result.

        Raises:
            OutputError: The format cannot hold it.
        """
        models, first = self._context.chooser.models(high.choice), high.file.first
        provenance = models.provenance(task.factor, first.color.dtype)
        content = encode_file(high.file, task.format, self._context.write_settings(task, provenance))
        return Encoded(content, self._notes(task, high))

    def _notes(self, task: PictureTask, high: HighFile) -> tuple[str, ...]:
        first = high.file.first
        too_large = metadata_lost(first.metadata, task.format, self._context.options.write.keep)
        return tuple(dict.fromkeys((*first.notes, *task.lost, *too_large, *notes_on_choice(high.choice))))

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
        ended.check()
        self._context.check_free(task)
        mode = task.source.mode

        def record(status: os.stat_result) -> None:
            ended.check()
            self._context.check_free(task)  # before the record of another run is replaced
            if task.in_place is not None:
                set_original_aside(task, stamp)
            if stamp is not None and task.recipe is not None:
                result = Stamp.of_content(encoded, status)
                write_record(target, stamp, result, task.recipe, account, mode)

        task.source.make_folder_of_result(target.parent)
        replace_it = task.in_place is not None or self._context.options.when_there == "overwrite"
        modified_ns = self._context.write_settings(task).modified_ns
        try:
            write_whole(
                target,
                encoded,
                mode=mode,
                replace=replace_it,
                modified_ns=modified_ns,
                before_publishing=record,
            )
        except OutputExistsError:
            self._context.check_free(task)  # another run may have made the same result at the last moment
            raise
