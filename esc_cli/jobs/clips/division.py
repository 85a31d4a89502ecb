"""Divide the work on a clip into its segments, which several workers can make at the same time.

The segments of a clip are the same with one worker and with many. The timestamps of the clip's packets tell
where each of them begins. A worker seeks to the frame before its segment, as a run does that continues after
a segment. It then compares the timestamps of its frames with those of the packets. If all segments have the
expected timestamps, they hold together the frames of the whole clip. If one has others, the clip cannot be
divided, and one worker makes it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self, cast

from esc_cli.enhancement.choice import Choice
from esc_cli.errors import InputError
from esc_cli.jobs.clips import sinks
from esc_cli.jobs.clips.run import FrameEnlarger
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.clips.work_folder import Segments, frames_in, last_pts_in
from esc_cli.jobs.made import EnlargedFrames
from esc_cli.jobs.pipeline import in_order
from esc_cli.media.video.frame import Frame


@dataclass(frozen=True)
class Part:
    """One segment of a clip.

    Attributes:
        number: Number of the segment, counted from 0.
        first: Number of frames before it.
        before: Timestamp of the frame before it; None for the first segment.
        times: Timestamps of its frames.
        is_last: Whether no segment follows.
    """

    number: int
    first: int
    before: int | None
    times: tuple[int, ...]
    is_last: bool

    def is_that_of(self, segment: Path) -> bool:
        """Return whether the name of a finished segment says that it has these frames."""
        return frames_in(segment) == len(self.times) and last_pts_in(segment) in (None, self.times[-1])


@dataclass(frozen=True)
class Division:
    """The division of a clip into segments.

    Attributes:
        identity: Everything that the segments depend on; None if no later run can resume.
        choice: The model.
        times: Timestamps of all frames of the result.
    """

    identity: Mapping[str, Any] | None
    choice: Choice | None
    times: tuple[int, ...]

    @property
    def parts(self) -> Iterator[Part]:
        """The segments, in order."""
        for number, first in enumerate(range(0, len(self.times), sinks.SEGMENT_FRAMES)):
            end = first + sinks.SEGMENT_FRAMES
            before = self.times[first - 1] if first else None
            yield Part(number, first, before, self.times[first:end], end >= len(self.times))


def may_be_divided(task: ClipTask) -> bool:
    """Return whether a clip may be divided, as far as it is known before the clip is read."""
    return task.output.has_segments and not task.options.deinterlace and task.in_place is None


def times_of(task: ClipTask) -> tuple[int, ...] | None:
    """Return the timestamps of a result's frames; None if the clip cannot be divided, or has one segment.

    Raises:
        InputError: The clip cannot be read.
    """
    if not may_be_divided(task):
        return None
    with task.open() as reader:
        times = reader.times()
    return None if times is None or len(times) <= sinks.SEGMENT_FRAMES else times


def make_part(
    task: ClipTask, part: Part, identity: Mapping[str, Any] | None, enlarge: Callable[[Frame], Frame]
) -> None:
    """Make one segment, while another process keeps the folder of the segments.

    Raises:
        InputError: The clip is damaged, or has other frames than its packets state.
        OutputError: The segment cannot be written.
        DiskFullError: There is no space left.
    """
    folder = Segments(cast(Path, task.target), identity)
    with task.open() as reader, sinks.SegmentSink(folder, task, part.number) as sink:
        frames = reader.frames_after(part.first, part.before) if part.first else iter(reader)
        in_order(_expected(frames, part, task.source.name), enlarge, sink.write)


def _expected(frames: Iterator[Frame], part: Part, name: str) -> Iterator[Frame]:
    """Yield the frames of a part.

    Raises:
        InputError: There are fewer frames, more frames at the end, or frames with other timestamps.
    """
    for pts in part.times:
        frame = next(frames, None)
        if frame is None or frame.pts != pts:
            raise InputError(f"{name} has other frames than its packets state")
        yield frame
    if part.is_last and next(frames, None) is not None:
        raise InputError(f"{name} has more frames than its packets state")


class Turn:
    """A context manager that enlarges the frames of a part.

    From the first frame to the last, no other part uses the network of this worker. Meanwhile, the next part
    is decoded, and the previous one is encoded.

    Attributes:
        enlarged: How the frames were enlarged.

    Args:
        network: The lock of the network.
        begin: Function that returns the enlarger, which is called when the turn begins.
        count: Number of frames of the part.
        report: Function that receives the number of finished frames, after each frame.
    """

    def __init__(
        self, network: Lock, begin: Callable[[], FrameEnlarger], count: int, report: Callable[[int], None]
    ) -> None:
        self._network, self._begin, self._count, self._report = network, begin, count, report
        self._frames: FrameEnlarger | None = None
        self._done = 0
        self._lasts = False
        self.enlarged = EnlargedFrames()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def __call__(self, frame: Frame) -> Frame:
        """Enlarge the next frame."""
        if self._frames is None:
            self._network.acquire()
            self._lasts = True
            self._frames = self._begin()
        high = self._frames(frame)
        self.enlarged = self._frames.enlarged
        self._done += 1
        self._report(self._done)
        if self._done == self._count:
            self._end()
        return high

    def _end(self) -> None:
        if self._lasts:
            self._lasts = False
            self._network.release()
