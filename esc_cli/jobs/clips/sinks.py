"""Where enlarged frames go: segments of a clip, a stream, an image sequence, or a sheet of a few."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.clips.work_folder import WorkFolder
from esc_cli.media.picture import Metadata, Picture
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.reader import Frame

SEGMENT_FRAMES = 48
"""What a killed run loses at most. Each begins with a key frame: two seconds of film are a usual distance."""


class Sink(Protocol):
    """Takes frames in order; a context manager that is complete when it was left without an error."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def write(self, frame: Frame) -> None:
        """Take the next frame."""
        ...


class SegmentSink:
    """Writes a clip in segments, each of which gets its name when it is complete.

    Args:
        folder: For the segments.
        task: What is made.
    """

    def __init__(self, folder: WorkFolder, task: ClipTask) -> None:
        self._folder = folder
        self._task = task
        self._writer: SegmentWriter | None = None
        self._path = Path()
        self._frames = self._last_pts = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        elif self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def write(self, frame: Frame) -> None:
        """Encode a frame."""
        if self._writer is None:
            self._path = self._folder.new_segment()
            task = self._task
            self._writer = SegmentWriter(self._path, task.clip, task.height, task.width, task.settings)
        self._writer.write(frame)
        self._frames, self._last_pts = self._frames + 1, frame.pts
        if self._frames == SEGMENT_FRAMES:
            self._finish()

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._folder.finish(self._path, self._last_pts)
        self._writer, self._frames = None, 0


def as_picture(frame: Frame, clip: Clip) -> Picture:
    """Make a picture of a frame."""
    depth_bits = 8 if clip.depth_bits <= 8 else 16
    return Picture(frame.color, frame.alpha, clip.gray, Metadata(), "PNG", depth_bits=depth_bits)
