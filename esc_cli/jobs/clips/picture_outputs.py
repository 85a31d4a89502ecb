"""Make image sequences, animations and preview sheets: the outputs of clips that are pictures."""

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from esc_cli.errors import OutputError, UsageError
from esc_cli.jobs.clips.options import NO_SETTINGS, time_text
from esc_cli.jobs.clips.outputs import (
    ClipOutput,
    Written,
    damage_notes,
    no_frame,
    nothing_kept,
    write_content,
)
from esc_cli.jobs.clips.run import ClipWork
from esc_cli.jobs.clips.samples import spread
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.memory import check_room_for_animation
from esc_cli.jobs.naming import Destination
from esc_cli.jobs.previews.request import PREVIEW_LABEL
from esc_cli.jobs.sources import Source
from esc_cli.jobs.work_folder import noting
from esc_cli.media.contact_sheet import LINE_PX, captioned, contact_sheet, sheet_size
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import DEFAULT_FORMAT, check_fits
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.video.animation import AnimationWriter, animation_limitations
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.image_sequence import SequenceWriter, sequence_limitations
from esc_cli.media.video.sequence_names import SequenceNames
from esc_cli.media.write import encode_file


class _Pictures(ClipOutput):
    """Pictures, which no video encoder makes.

    Args:
        format: The format of the pictures.
    """

    def __init__(self, format: PictureFormat) -> None:
        self.format: PictureFormat = format

    def complete_settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
        """Refuse a size that the format cannot hold, and settings, which pictures do not have."""
        check_fits(*size, self.format)
        if asked != NO_SETTINGS:
            raise UsageError(f"the options of video encoders do not apply to {self.format.name}")
        return asked


class ImageSequence(_Pictures):
    """An image sequence, with one picture for each frame.

    Args:
        format: The format of the pictures.
        source: The source clip.
        names: The names of the pictures.

    Raises:
        OutputError: The names are those of inputs.
    """

    is_one_file = False

    def __init__(self, format: PictureFormat, source: Source, names: SequenceNames) -> None:
        super().__init__(format)
        self._names = names
        if source.is_sequence and _real_paths(source.files) & _real_paths(names.found()):
            raise OutputError(
                f"'{names}' names inputs, and results never replace inputs",
                hint="choose another output with -o",
            )

    def is_there(self, target: Path | None) -> bool:
        """Return whether any picture with these names exists."""
        return bool(self._names.found())

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what pictures cannot hold of a clip."""
        return (*clip.notes, *sequence_limitations(clip, self.format))

    def make(self, work: ClipWork) -> Written:
        """Write the pictures."""
        work.publish(None)
        task, clip = work.task, work.task.clip
        sink = SequenceWriter(
            str(task.target),
            self.format,
            work.write,
            gray=clip.gray,
            rotation_deg=clip.rotation_deg,
            mode=task.source.mode,
        )
        with noting(lambda: _pictures_kept(task, sink)), task.open() as reader:
            work.run(iter(reader), sink)
            return Written(task.written_size, damage_notes(work.frames.damage, reader.skipped))


def _pictures_kept(task: ClipTask, sink: SequenceWriter) -> tuple[str, ...]:
    many = f"{sink.written} pictures of {task.source.name} are written"
    return (f"{many}, which the same command with --overwrite makes again" if sink.written else many,)


def _real_paths(files: Iterable[Path]) -> set[str]:
    return {os.path.realpath(file) for file in files}


class Animation(_Pictures):
    """An animated picture. All of its frames are in memory until it is written.

    Args:
        format: The format of the animation.
    """

    holds_all_frames = True

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what an animation cannot hold of a clip."""
        return (*clip.notes, *animation_limitations(clip, self.format))

    def make(self, work: ClipWork) -> Written:
        """Enlarge all frames, and write them at once."""
        task, sink = work.task, AnimationWriter(work.task.clip)
        with noting(lambda: nothing_kept(task)):
            with task.open() as reader:
                work.run(self._within_memory(iter(reader), task), sink)
            file = sink.file
            if file is None:
                raise no_frame(task)
            write_content(work, encode_file(file, self.format, work.write))
            return Written(task.written_size, damage_notes(work.frames.damage, reader.skipped))

    def _within_memory(self, frames: Iterator[Frame], task: ClipTask) -> Iterator[Frame]:
        """Yield the frames, and end the work if there are more than were planned, as in a pipe, and too many.

        Raises:
            OutOfMemoryError: There is too little memory.
        """
        for count, frame in enumerate(frames, start=1):
            if count > task.probe.frames:
                check_room_for_animation(self.format, count, task.written_size, alpha=task.clip.alpha)
            yield frame


class PreviewSheet(_Pictures):
    """A picture of a few frames at equal distances, each with its time in the clip below it.

    Raises:
        UsageError: The format of the result is a container for clips.
    """

    label = PREVIEW_LABEL

    def __init__(self, destination: Destination) -> None:
        named = destination.format
        if destination.is_page:
            raise UsageError(
                "a page shows the preview of a picture, not of a clip",
                hint="name a sheet, such as sheet.png",
            )
        if isinstance(named, Container) and not destination.is_folder:
            raise UsageError(f"a preview is a picture, but {named.name} is a container for clips")
        super().__init__(named if isinstance(named, PictureFormat) else DEFAULT_FORMAT)

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return only the notes from reading."""
        return clip.notes

    def written_size(self, task: ClipTask) -> tuple[int, int]:
        """Return the size of a sheet of the planned number of frames."""
        height, width = super().written_size(task)
        return sheet_size(task.probe.frames, height + LINE_PX, width)

    def make(self, work: ClipWork) -> Written:
        """Enlarge a few frames and put them on a sheet."""
        pictures: list[Picture] = []
        task, begun = work.task, time.monotonic()
        with noting(lambda: nothing_kept(task)), task.open() as reader:
            for number, low in enumerate(spread(reader, task, task.options.preview or 1), start=1):
                high = work.frames(low).turned(task.clip.rotation_deg)
                time_s = high.pts * task.clip.time_base - task.clip.origin_s
                pictures.append(captioned(high.as_picture(gray=task.clip.gray), (time_text(time_s),)))
                work.report(number, number / max(time.monotonic() - begun, 1e-9))
            if not pictures:
                raise no_frame(task)
            sheet = contact_sheet(pictures)
            write_content(work, encode_file(PictureFile((sheet,)), self.format, work.write))
            return Written((sheet.height, sheet.width), damage_notes(work.frames.damage, reader.skipped))
