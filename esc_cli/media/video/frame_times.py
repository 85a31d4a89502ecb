"""The order and the timestamps of decoded frames, where a file or its decoder leaves them in doubt."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from heapq import heappop, heappush
from typing import cast

import av
from av import VideoFrame, VideoStream

from esc_cli.errors import InputError
from esc_cli.media.video.clip import Clip

_EARLY_FRAMES = 8
"""By how many places a frame may come too early; as many frames are held in memory."""

_REORDERED_FRAMES = 16
"""The most frames that come between their places in decoding order and in display order.

Source: ITU-T H.264 and H.265, A.4 (max_dec_frame_buffering).
"""

_WITHOUT_DISPLAY_TIMES = ("avi",)
"""Containers that count frames in decoding order, although these counts are reported as timestamps."""

_REORDER = cast(int, av.codec.codec.Properties.REORDER.value)
RESTART_S = Fraction(1, 4)
"""How far timestamps go back at least where they begin again."""


def has_display_times(clip: Clip, stream: VideoStream) -> bool:
    """Return whether the timestamps of a clip's packets are the times at which their frames are shown."""
    return clip.container not in _WITHOUT_DISPLAY_TIMES or not _reorders(stream)


def _reorders(stream: VideoStream) -> bool:
    return bool(stream.codec_context.codec.properties & _REORDER)


@dataclass
class Placed:
    """A decoded frame and its place in time.

    Attributes:
        frame: The frame. It may have several places, if it stands in for lost frames.
        pts: Timestamp, in units of the stream's time base; None if the file does not state it.
        duration: Duration, in the same units; 0 if the file does not state it.
        stands_in: Whether the frame stands in for a lost one.
    """

    frame: VideoFrame
    pts: int | None
    duration: int
    stands_in: bool = False


class FrameTimes:
    """Puts the frames of a clip in the order of their timestamps, and makes each one later than the previous.

    A decoder finds out in the course of a stream how many frames it must hold back, and until then gives some
    frames too early: such frames are sorted by their timestamps. If a container has no display times, or a
    codec does not reorder, frames stay in the decoder's order, and their timestamps are sorted. Frames with
    equal timestamps share the time to the next frame. A frame without a timestamp follows the previous one,
    and so does the rest of a stream in which the timestamps begin again, as in joined recordings.

    Attributes:
        disturbed: Whether a frame so far has another place or timestamp than the file states. A seek does not
            find such frames again, because their timestamps depend on the frames before them.

    Args:
        clip: Facts about the clip.
        stream: The stream of the frames.
    """

    def __init__(self, clip: Clip, stream: VideoStream) -> None:
        self.disturbed = False
        self._start_pts = clip.start_pts
        self._usual = clip.usual_duration
        self._restart = RESTART_S / clip.time_base
        counted = not has_display_times(clip, stream)
        self._in_decoders_order = counted or not _reorders(stream)
        self._window = _REORDERED_FRAMES if counted else _EARLY_FRAMES if _reorders(stream) else 1
        self._last: tuple[int, int] | None = None  # the stated and the final timestamp of the last frame
        self._count = 0

    def ordered(self, raw: Iterator[Placed]) -> Iterator[Placed]:
        """Yield all frames, each with its final timestamp in ``pts``; a few frames are held back.

        Raises:
            InputError: The clip is damaged. All frames before are yielded first.
        """
        frames: list[tuple[int, int, Placed]] = []
        stamps: list[int] = []
        damage: InputError | None = None
        try:
            for number, (stamp, frame) in enumerate(self._stamped(raw)):
                heappush(frames, (number if self._in_decoders_order else stamp, number, frame))
                heappush(stamps, stamp)
                if len(frames) > self._window:
                    yield self._next(frames, stamps)
        except InputError as error:
            damage = error
        while frames:
            yield self._next(frames, stamps)
        if damage is not None:
            raise damage

    def _stamped(self, raw: Iterator[Placed]) -> Iterator[tuple[int, Placed]]:
        """Yield a timestamp for each frame; only those of frames that came too early are in disorder."""
        shift, first, following, greatest = 0, None, self._start_pts, self._start_pts
        for frame in raw:
            stamp = following if frame.pts is None else frame.pts + shift
            first = stamp if first is None else first
            done = first if self._last is None else max(first, self._last[0])
            if stamp <= done and greatest - stamp > self._restart:  # the timestamps begin again
                shift += following - stamp
                stamp = first = following
            greatest = max(greatest, stamp)
            following = greatest + self._duration(frame)
            yield stamp, frame

    def _next(self, frames: list[tuple[int, int, Placed]], stamps: list[int]) -> Placed:
        """Take the next frame and the next timestamp from the heaps."""
        _, number, frame = heappop(frames)
        pts = stamp = heappop(stamps)
        if self._last is not None and pts <= self._last[1]:
            pts = self._between(self._last[1], stamps, frame)
        self.disturbed = self.disturbed or (number, pts) != (self._count, frame.pts)
        self._count += 1
        self._last = stamp, pts
        frame.pts = pts
        return frame

    def _between(self, last: int, stamps: list[int], frame: Placed) -> int:
        """Return a timestamp for a frame whose own one is taken by the previous frame."""
        later = [stamp for stamp in stamps if stamp > last]
        if not later:
            return last + self._duration(frame)
        sharing = len(stamps) - len(later) + 2
        return last + max(1, (min(later) - last) // sharing)

    def _duration(self, frame: Placed) -> int:
        return frame.duration or self._usual
