"""Define sinks, which write enlarged frames to segments of a clip, a stream or an image sequence."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.clips.work_folder import Segments
from esc_cli.media.video.encoding import SegmentWriter
from esc_cli.media.video.frame import UNDAMAGED, Frame

SEGMENT_FRAMES = 48
"""Number of frames in a segment, which is the most that a killed run loses.

Each segment begins with a keyframe, and two seconds of film are a usual distance between keyframes.
"""


class Sink(Protocol):
    """A context manager that takes frames in order. Its output is complete if it exits without an error."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...

    def write(self, frame: Frame) -> None:
        """Write the next frame."""
        ...


class SegmentSink:
    """Writes a clip in segments, each of which gets its name when it is complete.

    Args:
        folder: The folder for the segments.
        task: The task of the clip.
        number: Number of the first segment.
    """

    def __init__(self, folder: Segments, task: ClipTask, number: int) -> None:
        self._folder = folder
        self._number = number
        self._task = task
        self._writer: SegmentWriter | None = None
        self._path = Path()
        self._frames = 0
        self._last_pts: int | None = None
        self._damage = UNDAMAGED

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
            self._path = self._folder.new_segment(self._number)
            task = self._task
            self._writer = SegmentWriter(self._path, task.clip, task.height, task.width, task.settings)
        self._writer.write(frame)
        self._frames += 1
        self._last_pts = frame.pts if frame.can_be_sought else None
        self._damage += frame.damage
        if self._frames == SEGMENT_FRAMES:
            self._finish()

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._folder.finish(self._path, self._frames, self._last_pts, self._damage)
            self._number += 1
        self._writer, self._frames, self._damage = None, 0, UNDAMAGED
