"""Make files in a container, and streams of raw frames: the outputs of clips that an encoder makes."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import cast

from esc_cli.errors import DiskFullError, OutputError
from esc_cli.jobs.clips import sinks
from esc_cli.jobs.clips.outputs import (
    ClipOutput,
    Written,
    damage_notes,
    no_frame,
    nothing_kept,
    opened_target,
)
from esc_cli.jobs.clips.run import ClipWork
from esc_cli.jobs.clips.sinks import SegmentSink
from esc_cli.jobs.clips.task import ClipTask, FrameSource
from esc_cli.jobs.clips.work_folder import Segments, WorkFolder
from esc_cli.jobs.events import CONTINUE
from esc_cli.jobs.made import Publish
from esc_cli.jobs.sources import Source
from esc_cli.jobs.work_folder import identity_of, noting
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import Container, SoundChoice
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.encoding import StreamWriter
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.mux import mux
from esc_cli.media.video.pixel_formats import alpha_notes, format_notes, padding_notes
from esc_cli.media.video.pixels import encoded_size
from esc_cli.media.video.rehearsal import rehearse
from esc_cli.media.video.segments import SegmentsError, first_pts_of
from esc_cli.media.video.settings import caption_notes, check_settings
from esc_cli.media.video.stream_copy import stream_copies
from esc_cli.storage.whole_files import atomic_path


class _Encoded(ClipOutput):
    """Frames that go through an encoder.

    Args:
        container: Container of the result.
    """

    def __init__(self, container: Container) -> None:
        self.format: Container = container

    def complete_settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
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

    has_segments = True

    def __init__(self, container: Container, audio: SoundChoice) -> None:
        super().__init__(container)
        self._audio: SoundChoice = audio

    def complete_settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
        """Complete the settings, and try an encoder that the user chose on a few frames."""
        complete = super().complete_settings(clip, asked, size)
        if asked.codec is not None:
            rehearse(clip, self.format, size, complete)
        return complete

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say which streams are lost or converted and what the encoder changes."""
        lost = super().limitations(source, clip, size, settings)
        file = _file_of_streams(source, clip)
        return lost if file is None else (*lost, *stream_copies(file, self.format, self._audio).notes)

    def make(self, work: ClipWork) -> Written:
        """Encode the frames that no earlier run encoded, and mux everything."""
        task = work.task
        identity = identity_of(task.source, task.identity, work.frames.model)
        with (
            WorkFolder(cast(Path, task.target), identity) as folder,
            noting(lambda: _kept(task, folder, can_go_on=identity is not None)),
        ):
            with task.open() as reader:  # closed before the result may replace the clip
                while (gap := folder.gap) is not None:
                    self._fill_gap(work, reader, folder, gap)
                sink = SegmentSink(folder, task, len(folder.segments))
                work.run(_rest(reader, folder), sink, folder.frames)
            return self._mux_and_publish(task, work.publish, reader, folder)

    def _fill_gap(self, work: ClipWork, reader: FrameSource, folder: Segments, gap: int) -> None:
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

    def join(self, task: ClipTask, publish: Publish, frames: int) -> Written:
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
            return self._mux_and_publish(task, publish, reader, folder)

    def _mux_and_publish(
        self, task: ClipTask, publish: Publish, reader: FrameSource, folder: Segments
    ) -> Written:
        if not folder.segments:
            raise no_frame(task)
        damage = folder.damage
        with atomic_path(folder.target, task.source.mode) as temporary:
            left_out = self._mux(task, folder, temporary)
            publish(temporary)
        return Written(task.written_size, (*damage_notes(damage, reader.skipped), *left_out))

    def _mux(self, task: ClipTask, folder: Segments, target: Path) -> tuple[str, ...]:
        """Mux everything; without the other streams if that fails, so that the frames are never lost."""
        options = task.options
        write = partial(
            mux,
            folder.segments,
            _file_of_streams(task.source, task.clip),
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


def _file_of_streams(source: Source, clip: Clip) -> Path | None:
    """Return the file whose other streams are copied; None if there is none, as for pipes and pictures."""
    return source.content if isinstance(source.content, Path) and not clip.of_pictures else None


def _kept(task: ClipTask, folder: WorkFolder, *, can_go_on: bool) -> tuple[str, ...]:
    if not can_go_on:
        return nothing_kept(task)
    frames = folder.frames_in_all
    total = max(frames, task.probe.frames)
    return f"{frames} of {total} frames of {task.source.name} are done and kept", CONTINUE


def _rest(reader: FrameSource, folder: Segments) -> Iterator[Frame]:
    """Return the frames after those of the finished segments up to the first that is missing."""
    return reader.frames_after(folder.frames, folder.last_pts) if folder.segments else iter(reader)


def _begins_at(segment: Path | None, pts: int) -> bool:
    try:
        return segment is not None and first_pts_of(segment) == pts
    except SegmentsError:
        return False


class RawStream(_Encoded):
    """Raw frames, written to standard output or a file for other programs."""

    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what raw frames lack."""
        lost = super().limitations(source, clip, size, settings)
        return (*lost, f"{self.format.name} holds only frames, without their timestamps")

    def make(self, work: ClipWork) -> Written:
        """Write one frame after the other."""
        task = work.task
        with noting(lambda: nothing_kept(task)), task.open() as reader, opened_target(work) as file:
            work.run(iter(reader), StreamWriter(file, task.clip, task.height, task.width, task.settings))
            return Written(task.written_size, damage_notes(work.frames.damage, reader.skipped))
