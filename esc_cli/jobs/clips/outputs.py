"""Define what can be made of a clip: a file, a stream of raw frames, an image sequence, or a preview sheet.

``output_of`` decides once which of these is made. All differences between them are in this module.
"""

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from esc_cli.errors import DiskFullError, InputError, OutputError, UsageError
from esc_cli.jobs.clips import sinks
from esc_cli.jobs.clips.options import NO_SETTINGS, ClipOptions, time_text
from esc_cli.jobs.clips.samples import spread
from esc_cli.jobs.clips.sinks import SegmentSink
from esc_cli.jobs.clips.work_folder import Segments, WorkFolder
from esc_cli.jobs.events import CONTINUE
from esc_cli.jobs.memory import check_room_for_animation
from esc_cli.jobs.naming import Destination, choose_clip_format
from esc_cli.jobs.record import Stamp
from esc_cli.jobs.sources import Source
from esc_cli.jobs.streams import stdout_errors, stdout_file, write_stdout
from esc_cli.jobs.work_folder import noting
from esc_cli.media.contact_sheet import LINE_PX, captioned, contact_sheet, sheet_size
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.formats.registry import FORMATS, check_fits
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.video.animation import AnimationWriter, animation_limitations
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import Container, EncodeSettings, SoundChoice
from esc_cli.media.video.encoding import StreamWriter
from esc_cli.media.video.image_sequence import SequenceWriter, sequence_limitations
from esc_cli.media.video.mux import SegmentsError, first_pts_of, mux
from esc_cli.media.video.pixels import encoded_size
from esc_cli.media.video.reader import Damage, Frame, turned
from esc_cli.media.video.rehearsal import rehearse
from esc_cli.media.video.sequence_names import SequenceNames, is_sequence, sequence_names
from esc_cli.media.video.settings import (
    alpha_notes,
    caption_notes,
    check_settings,
    format_notes,
    padding_notes,
)
from esc_cli.media.video.stream_copy import stream_copies
from esc_cli.media.write import encode_file
from esc_cli.storage.whole_files import atomic_path

if TYPE_CHECKING:
    from esc_cli.jobs.archives.task import ArchiveTask
    from esc_cli.jobs.clips.run import ClipWork, Publish
    from esc_cli.jobs.clips.task import ClipTask, FrameSource


@dataclass(frozen=True)
class Written:
    """A result that was written.

    Attributes:
        size: Size of its frames or of its picture, (height, width), in pixels.
        notes: A sentence for each thing that was repaired or left out.
    """

    size: tuple[int, int]
    notes: tuple[str, ...]


class ClipOutput(ABC):
    """The kind of result that is made of a clip.

    Attributes:
        format: The format of the result.
        label: The part of the result's name that follows the label of the size.
        is_one_file: Whether the result is one file.
        holds_all_frames: Whether all frames are in memory until the result is written.
    """

    format: PictureFormat | Container
    label = ""
    is_one_file = True
    holds_all_frames = False

    @property
    def in_segments(self) -> "ContainerFile | None":
        """This output if it is joined from segments, which several workers can make; otherwise None."""
        return None

    def settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
        """Complete the settings of the encoder. Pictures have none.

        Args:
            clip: The properties of the source clip.
            asked: The settings that the user chose.
            size: The size of the result's frames, (height, width).

        Raises:
            UsageError: Settings were given for pictures, or do not fit.
        """
        if asked != NO_SETTINGS:
            raise UsageError(f"the options of video encoders do not apply to {self.format.name}")
        return asked

    def check_size(self, height: int, width: int) -> None:
        """Refuse a size in pixels that the format cannot hold.

        Raises:
            OutputError: The format cannot hold the size.
        """
        if isinstance(self.format, PictureFormat):
            check_fits(height, width, self.format)

    def displayed_size(self, clip: Clip, size: tuple[int, int], settings: EncodeSettings) -> tuple[int, int]:
        """Return the height and width of the result's frames, after rotation.

        Args:
            clip: The source clip.
            size: Height and width of the enlarged frames, before rotation.
            settings: Complete settings.
        """
        return size if clip.rotation_deg % 180 == 0 else size[::-1]

    def is_there(self, target: Path | None) -> bool:
        """Return whether the result's name is taken."""
        return target is not None and os.path.lexists(target)

    @abstractmethod
    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what the result cannot hold and what else is unexpected about it.

        Args:
            source: The source clip.
            clip: The properties of the source clip.
            size: The size of the result's frames, (height, width).
            settings: The complete settings of the encoder.
        """

    def written_size(self, task: "ClipTask") -> tuple[int, int]:
        """Return the size of a result's frames or of its picture, (height, width), as far as it is known."""
        return self.displayed_size(task.clip, (task.height, task.width), task.settings)

    @abstractmethod
    def make(self, work: "ClipWork") -> Written:
        """Make the result.

        Args:
            work: The task, the enlarger of its frames, and the functions to call.

        Raises:
            InputError: The clip is damaged, or there is no frame in the part that is kept.
            OutputError: The result cannot be written.
            DiskFullError: There is no space left.
        """


def output_of(source: Source, destination: Destination, clip: Clip, options: ClipOptions) -> ClipOutput:
    """Choose the kind of result that is made of a clip.

    Args:
        source: The source clip.
        destination: The destination of all results.
        clip: The properties of the source clip.
        options: The options for clips.

    Raises:
        UsageError: The destination and the options contradict each other.
        OutputError: Results would replace inputs.
    """
    if options.preview is not None:
        return PreviewSheet(destination)
    format = choose_clip_format(destination, clip.container)
    if isinstance(format, Container):
        return RawStream(format) if format.is_raw else ContainerFile(format, options.audio)
    if destination.path is None or not is_sequence(str(destination.path)):
        if format.several == "frames" and source.folder is None:
            return Animation(format)
        raise UsageError(
            f"{source.name} is a clip, but {format.name} is a picture format",
            hint="name its frames, for example -o frames/%06d.png, or use --preview 9 to see some",
        )
    return ImageSequence(format, source, sequence_names(str(destination.path)))


class _Encoded(ClipOutput):
    """Frames that go through an encoder.

    Args:
        container: Container of the result.
    """

    def __init__(self, container: Container) -> None:
        self.format: Container = container

    def settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
        """Complete the settings of the encoder."""
        return check_settings(clip, self.format, asked)

    def displayed_size(self, clip: Clip, size: tuple[int, int], settings: EncodeSettings) -> tuple[int, int]:
        """Return the height and width of the stream's frames, after rotation. The stream may be padded."""
        stored = encoded_size(*size, settings.pixel_format or clip.pixel_format)
        return super().displayed_size(clip, stored, settings)

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what the encoder changes."""
        changed = (*padding_notes(clip, *size, settings), *format_notes(clip, settings))
        return (*clip.notes, *changed, *alpha_notes(clip, settings), *caption_notes(clip, settings))


class ContainerFile(_Encoded):
    """A clip in a container, encoded in segments that a later run can continue.

    Args:
        container: Container of the result.
        audio: What happens to sound.
    """

    def __init__(self, container: Container, audio: SoundChoice) -> None:
        super().__init__(container)
        self._audio: SoundChoice = audio

    @property
    def in_segments(self) -> "ContainerFile":
        """This output."""
        return self

    def settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
        """Complete the settings, and try an encoder that the user chose on a few frames."""
        complete = super().settings(clip, asked, size)
        if asked.codec is not None:
            rehearse(clip, self.format, size, complete)
        return complete

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say which streams are lost or converted and what the encoder changes."""
        lost = super().limitations(source, clip, size, settings)
        if not isinstance(source.content, Path) or clip.of_pictures:
            return lost
        return (*lost, *stream_copies(source.content, self.format, self._audio).notes)

    def make(self, work: "ClipWork") -> Written:
        """Encode the frames that no earlier run encoded, and mux everything."""
        task = work.task
        identity = identity_of(task, work.frames.model)
        with (
            WorkFolder(cast(Path, task.target), identity) as folder,
            noting(lambda: _kept(task, folder, can_go_on=identity is not None)),
        ):
            with task.open() as reader:  # closed before the result may replace the clip
                while (gap := folder.gap) is not None:
                    self._fill(work, reader, folder, gap)
                sink = SegmentSink(folder, task, len(folder.segments))
                work.run(_rest(reader, folder), sink, folder.frames)
            return self._join(task, work.publish, reader, folder)

    def _fill(self, work: "ClipWork", reader: "FrameSource", folder: Segments, gap: int) -> None:
        """Encode the segments that are missing before a finished one.

        The place of the finished one was chosen from the packets of the clip. If the frames show that it
        belongs elsewhere, it and all later ones are removed.
        """
        number, rest = len(folder.segments), _rest(reader, folder)
        sink = SegmentSink(folder, work.task, number)
        work.run(islice(rest, gap * sinks.SEGMENT_FRAMES), sink, folder.frames_in_all)
        following = next(rest, None)
        if following is None or not _begins_at(folder.found.get(number + gap), following.pts):
            folder.forget(number + gap)

    def join(self, task: "ClipTask", publish: "Publish", frames: int) -> Written:
        """Mux segments that are all finished, while another process keeps their folder.

        Args:
            task: The task of the clip.
            publish: Function that is called when the result is complete except for its name.
            frames: Number of frames in all segments.

        Raises:
            InputError: The clip or a segment cannot be read.
            OutputError: The result cannot be written, or this machine does not see all segments.
            DiskFullError: There is no space left.
        """
        folder = Segments(cast(Path, task.target), None)
        folder.wait_for(frames)
        with task.open() as reader:
            return self._join(task, publish, reader, folder)

    def _join(self, task: "ClipTask", publish: "Publish", reader: "FrameSource", folder: Segments) -> Written:
        if not folder.segments:
            raise no_frame(task)
        damage = folder.damage
        with atomic_path(folder.target, task.source.mode) as temporary:
            left_out = self._mux(task, folder, temporary)
            publish(temporary)
        return Written(self.written_size(task), (*_damaged(damage, reader.skipped), *left_out))

    def _mux(self, task: "ClipTask", folder: Segments, target: Path) -> tuple[str, ...]:
        """Mux everything; without the other streams if that fails, so that the frames are never lost."""
        source, options = task.source.content, task.options
        write = partial(
            mux,
            folder.segments,
            source if isinstance(source, Path) and not task.clip.of_pictures else None,
            target,
            self.format,
            task.clip,
            frames=folder.frames,
            start_s=options.start_s,
            end_s=options.end_s,
            sound=self._audio,
        )
        try:
            return write()
        except SegmentsError:
            folder.forget(0)
            raise
        except DiskFullError:
            raise
        except OutputError:
            write(with_copies=False)
            return (f"the other streams could not be written to {self.format.name} and were left out",)


class RawStream(_Encoded):
    """Raw frames, written to standard output or a file for other programs."""

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what raw frames lack."""
        lost = super().limitations(source, clip, size, settings)
        return (*lost, f"{self.format.name} holds only frames, without their timestamps")

    def make(self, work: "ClipWork") -> Written:
        """Write one frame after the other."""
        task = work.task
        with noting(lambda: _nothing_kept(task)), task.open() as reader, _stream_target(work) as file:
            work.run(iter(reader), StreamWriter(file, task.clip, task.height, task.width, task.settings))
            return Written(self.written_size(task), _damaged(work.frames.damage, reader.skipped))


class ImageSequence(ClipOutput):
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
        self.format: PictureFormat = format
        self._names = names
        if _is_sequence(source) and _real_names(sequence_names(str(source.content))) & _real_names(names):
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

    def make(self, work: "ClipWork") -> Written:
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
            return Written(self.written_size(task), _damaged(work.frames.damage, reader.skipped))


class Animation(ClipOutput):
    """An animated picture. All of its frames are in memory until it is written.

    Args:
        format: The format of the animation.
    """

    holds_all_frames = True

    def __init__(self, format: PictureFormat) -> None:
        self.format: PictureFormat = format

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what an animation cannot hold of a clip."""
        return (*clip.notes, *animation_limitations(clip, self.format))

    def make(self, work: "ClipWork") -> Written:
        """Enlarge all frames, and write them at once."""
        task, sink = work.task, AnimationWriter(work.task.clip)
        with noting(lambda: _nothing_kept(task)):
            with task.open() as reader:
                work.run(self._within_memory(iter(reader), task), sink)
            file = sink.file
            if file is None:
                raise no_frame(task)
            content = encode_file(file, self.format, work.write)
            with _stream_target(work) as target:
                target.write(content)
            return Written(self.written_size(task), _damaged(work.frames.damage, reader.skipped))

    def _within_memory(self, frames: Iterator[Frame], task: "ClipTask") -> Iterator[Frame]:
        """Yield the frames, and end the work if there are more than were planned, as in a pipe, and too many.

        Raises:
            OutOfMemoryError: There is too little memory.
        """
        for count, frame in enumerate(frames, start=1):
            if count > task.probe.frames:
                check_room_for_animation(self.format, count, self.written_size(task), alpha=task.clip.alpha)
            yield frame


class PreviewSheet(ClipOutput):
    """A picture of a few frames at equal distances, each with its time in the clip below it.

    Raises:
        UsageError: The format of the result is a container for clips.
    """

    label = "_preview"

    def __init__(self, destination: Destination) -> None:
        named = destination.format
        if destination.is_page:
            raise UsageError(
                "a page shows the preview of a picture, not of a clip",
                hint="name a sheet, such as sheet.png",
            )
        if isinstance(named, Container) and not destination.is_folder:
            raise UsageError(f"a preview is a picture, but {named.name} is a container for clips")
        self.format: PictureFormat = named if isinstance(named, PictureFormat) else FORMATS["PNG"]

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return only the notes from reading."""
        return clip.notes

    def written_size(self, task: "ClipTask") -> tuple[int, int]:
        """Return the size of a sheet of the planned number of frames."""
        height, width = super().written_size(task)
        return sheet_size(task.probe.frames, height + LINE_PX, width)

    def make(self, work: "ClipWork") -> Written:
        """Enlarge a few frames and put them on a sheet."""
        pictures: list[Picture] = []
        task, begun = work.task, time.monotonic()
        with noting(lambda: _nothing_kept(task)), task.open() as reader:
            for number, low in enumerate(spread(reader, task, task.options.preview or 1), start=1):
                high = turned(work.frames(low), task.clip.rotation_deg)
                time_s = high.pts * task.clip.time_base - task.clip.origin_s
                pictures.append(captioned(work.frames.as_picture(high), (time_text(time_s),)))
                work.report(number, number / max(time.monotonic() - begun, 1e-9))
            if not pictures:
                raise no_frame(task)
            sheet = contact_sheet(pictures)
            content = encode_file(PictureFile((sheet,)), self.format, work.write)
            if task.target is None:
                write_stdout(content)
            else:
                with _stream_target(work) as file:
                    file.write(content)
            size = sheet.height, sheet.width
            return Written(size, _damaged(work.frames.damage, reader.skipped))


def _kept(task: "ClipTask", folder: WorkFolder, *, can_go_on: bool) -> tuple[str, ...]:
    if not can_go_on:
        return _nothing_kept(task)
    frames = folder.frames_in_all
    total = max(frames, task.probe.frames)
    return f"{frames} of {total} frames of {task.source.name} are done and kept", CONTINUE


def _pictures_kept(task: "ClipTask", sink: SequenceWriter) -> tuple[str, ...]:
    many = f"{sink.written} pictures of {task.source.name} are written"
    return (f"{many}, which the same command with --overwrite makes again" if sink.written else many,)


def _nothing_kept(task: "ClipTask") -> tuple[str, ...]:
    return (f"nothing of {task.source.name} is kept",)


def _damaged(damage: Damage, skipped: int) -> tuple[str, ...]:
    """Return a sentence for each kind of damage.

    Args:
        damage: The damage in the frames of the result.
        skipped: Number of frames before the first one that could be decoded.
    """
    sentences = (
        (skipped, "damaged at the beginning, and the result begins after {them}"),
        (damage.lost, "damaged, and the last good frame stands in for {them}"),
        (damage.repaired, "damaged and {were} repaired by the decoder"),
    )
    return tuple(_counted(count, sentence) for count, sentence in sentences if count)


def _counted(count: int, sentence: str) -> str:
    were, them = ("was", "it") if count == 1 else ("were", "them")
    return f"{count} frame{'s' if count > 1 else ''} {were} {sentence.format(them=them, were=were)}"


def no_frame(task: "ClipTask") -> InputError:
    """Return the error for a clip that has no frame in the requested part."""
    return InputError(f"{task.source.name} has no frame in the requested part")


def _rest(reader: "FrameSource", folder: Segments) -> Iterator[Frame]:
    """Return the frames after those of the finished segments up to the first that is missing."""
    return reader.frames_after(folder.frames, folder.last_pts) if folder.segments else iter(reader)


def _begins_at(segment: Path | None, pts: int) -> bool:
    try:
        return segment is not None and first_pts_of(segment) == pts
    except SegmentsError:
        return False


def identity_of(task: "ClipTask | ArchiveTask", model: str) -> dict[str, object] | None:
    """Return everything that finished parts depend on: the input's bytes, the recipe, and the chosen model.

    The value is None for a pipe, which can be read only once.
    """
    source = task.source.content
    if not isinstance(source, Path):
        return None
    if source.is_file():
        stamp = Stamp.of(source)
        return {
            "size_bytes": stamp.size_bytes,
            "sha256": stamp.sha256,
            "recipe": task.identity,
            "model": model,
        }
    digests = {file.name: Stamp.of(file).sha256 for file in sequence_names(str(source)).files()}
    return {"files": digests, "recipe": task.identity, "model": model}


@contextmanager
def _stream_target(work: "ClipWork") -> Iterator[BinaryIO]:
    if work.task.target is None:
        with stdout_errors():
            yield stdout_file()
        return
    with atomic_path(work.task.target, work.task.source.mode) as temporary:
        with temporary.open("wb") as file:
            yield file
        work.publish(temporary)


def _is_sequence(source: Source) -> bool:
    return isinstance(source.content, Path) and is_sequence(str(source.content))


def _real_names(names: SequenceNames) -> set[str]:
    return {os.path.realpath(path) for path in names.found()}
