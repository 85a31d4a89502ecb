"""Reading a clip: its frames as RGB, each with the time at which it is shown."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from typing import Self

import av
from av import VideoFrame
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.media.video.clip import Clip, clip_of, main_stream
from esc_cli.media.video.decoding import decoded, deinterlaced
from esc_cli.media.video.library import Source, name_of, open_clip
from esc_cli.media.video.pixels import to_rgb

_STEPS_BACK_S = (0, 2, 20)
"""How far before its time a frame is looked for, as some indices go by the time of decoding."""


@dataclass(frozen=True)
class Frame:
    """A frame of a clip.

    Attributes:
        color: (1, 3, H, W) RGB; uint8, or uint16 of full range for more than 8 bits.
        pts: When it is shown, in units of the clip's time_base.
        duration: How long, in the same units; None if the file does not say.
        alpha: (1, 1, H, W) of the same type, or None.
    """

    color: Tensor
    pts: int
    duration: int | None = None
    alpha: Tensor | None = None


def turned(frame: Frame, rotation_deg: int) -> Frame:
    """Turn a frame counter-clockwise, by quarters of a turn, as a player does."""
    turns = round(rotation_deg / 90)
    alpha = None if frame.alpha is None else frame.alpha.rot90(turns, (2, 3))
    return replace(frame, color=frame.color.rot90(turns, (2, 3)), alpha=alpha)


class VideoReader:
    """Reads the frames of a clip in the order in which they are shown; a context manager.

    Time stamps are those of the file. A frame that has none, or one not later than the frame before, is shown
    one frame duration after that.

    Attributes:
        clip: The facts of the clip.
        damaged_frames: How many frames of those read so far were damaged and mended by the decoder.

    Args:
        source: A path, or a binary file, which need not seek (a pipe).
        deinterlace: Whether interlaced frames are made whole; if not, they are refused.
        start_s: The first frame is the first at or after this time, counted from the beginning of the file;
            None for all.
        end_s: Frames at or after this time are left out; None for all.

    Raises:
        InputError: It is missing, empty, cut off, no clip, without a video stream, or of an unknown codec; or
            interlaced (also while iterating).
    """

    def __init__(
        self,
        source: Source,
        *,
        deinterlace: bool = False,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> None:
        self.damaged_frames = 0
        self._name = name_of(source)
        self._deinterlace = deinterlace
        self._container = open_clip(source)
        try:
            self._stream = main_stream(self._container, self._name)
            decoded_frames = decoded(self._container, self._stream, self._name)
            first = next(decoded_frames, None)
            if first is None:
                raise InputError(f"{self._name} holds no frame")
            self._first = first
            self.clip: Clip = clip_of(source, self._container, self._stream, first)
            self._check(first)
        except BaseException:
            self.close()
            raise
        self._unread: Iterator[VideoFrame] | None = chain((first,), decoded_frames)
        self._first_pts = None if start_s is None else pts_at(self.clip, start_s)
        self._end_pts = None if end_s is None else pts_at(self.clip, end_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames that were read stay."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """The frames; of a source that cannot seek, once.

        Raises:
            InputError: A frame is cut off, damaged, interlaced or of another size than the first.
        """
        if self._first_pts is not None:
            return self.frames_from(self._first_pts)
        raw, self._unread = self._unread, None
        return self._frames(raw) if raw is not None else self.frames_from(self.clip.start_pts)

    def peek(self) -> Tensor:
        """Give the color of the file's first frame, (1, 3, H, W); it is still to be read."""
        return to_rgb(self._first, self.clip)[0]

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """The frames from a time on, each as it would be in the whole clip.

        Args:
            pts: The time of the first, in units of the clip's time_base.

        Raises:
            InputError: As for iterating; or the source cannot seek.
        """
        self._unread = None
        return self._frames(self._sought(pts), pts)

    def _sought(self, pts: int) -> Iterator[VideoFrame]:
        """Decode from a key frame that is not later than a time; from the beginning, if none is found."""
        for back_s in _STEPS_BACK_S:
            self._seek(pts - round(back_s / self.clip.time_base))
            frames = decoded(self._container, self._stream, self._name)
            first = next(frames, None)
            if first is not None and first.pts is not None and first.pts <= pts:
                return chain((first,), frames)
            if first is not None and first.pts is None:
                break  # times are counted from the beginning
        self._seek(min(self._stream.start_time or 0, 0))
        return decoded(self._container, self._stream, self._name)

    def _seek(self, pts: int) -> None:
        try:
            self._container.seek(pts, stream=self._stream)
        except av.FFmpegError as error:
            raise InputError(f"{self._name} cannot be read from the middle") from error

    def _frames(self, raw: Iterator[VideoFrame], first_pts: int | None = None) -> Iterator[Frame]:
        raw = (self._check(frame) for frame in raw)
        if self._deinterlace:
            raw = deinterlaced(raw, self.clip.time_base)
        for frame, pts in self._timed(raw):
            if first_pts is not None and pts < first_pts:
                continue
            if self._end_pts is not None and pts >= self._end_pts:
                return
            self.damaged_frames += bool(frame.is_corrupt)
            color, alpha = to_rgb(frame, self.clip)
            yield Frame(color, pts, frame.duration or None, alpha)

    def _timed(self, raw: Iterator[VideoFrame]) -> Iterator[tuple[VideoFrame, int]]:
        """Give each frame with its time stamp, later than the one before."""
        last: int | None = None
        for frame in raw:
            pts = self.clip.start_pts if frame.pts is None else frame.pts
            if last is not None and (frame.pts is None or frame.pts <= last):
                pts = last + (frame.duration or self._usual_duration())
            last = frame.pts = pts
            yield frame, pts

    def _usual_duration(self) -> int:
        rate = self.clip.frame_rate or Fraction(25)
        return max(1, round(1 / (rate * self.clip.time_base)))

    def _check(self, frame: VideoFrame) -> VideoFrame:
        if frame.interlaced_frame and not self._deinterlace:
            raise InputError(f"{self._name} is interlaced", hint="give --deinterlace")
        if (frame.height, frame.width) != (self.clip.height, self.clip.width):
            raise InputError(
                f"{self._name} changes its size from {self.clip.width}x{self.clip.height} to "
                f"{frame.width}x{frame.height} in the middle, which is not read"
            )
        return frame


def exact_s(time_s: float) -> Fraction:
    """A time as it was meant, to a microsecond: 0.2002 is no nearest binary number above it."""
    return Fraction(time_s).limit_denominator(1_000_000)


def pts_at(clip: Clip, time_s: float) -> int:
    """The first time stamp of a clip at or after a time which is counted from the beginning of its file."""
    exact = (exact_s(time_s) + clip.origin_s) / clip.time_base
    return -(-exact.numerator // exact.denominator)
