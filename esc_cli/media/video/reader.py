"""Reading the frames of a clip as RGB, each with its timestamp."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Self

import av
from av import VideoFrame
from torch import Tensor

from esc_cli.errors import DamageError, InputError
from esc_cli.media.video.clip import Clip, clip_of, main_stream
from esc_cli.media.video.decoding import Decoding, deinterlaced
from esc_cli.media.video.library import ClipSource, name_of, open_clip
from esc_cli.media.video.pixels import to_rgb
from esc_cli.media.video.truncation import ends_early

_STEPS_BACK_S = (0, 2, 20)
"""How far before its timestamp a frame is looked for, because some indices use decoding times."""


@dataclass(frozen=True)
class Damage:
    """The damage in some frames.

    Attributes:
        lost: Number of frames that could not be decoded, and for which the frame before them stands.
        repaired: Number of frames that were repaired by the decoder.
    """

    lost: int = 0
    repaired: int = 0

    def __add__(self, other: "Damage") -> "Damage":
        """Return the damage in the frames of both."""
        return Damage(self.lost + other.lost, self.repaired + other.repaired)


UNDAMAGED = Damage()


@dataclass(frozen=True)
class Frame:
    """A frame of a clip.

    Attributes:
        color: RGB tensor, (1, 3, H, W); uint8, or uint16 over its full range for more than 8 bits.
        pts: Timestamp, in units of the clip's time_base.
        duration: Duration, in units of the clip's time_base; None if the file does not state it.
        alpha: Alpha tensor, (1, 1, H, W), with the dtype of `color`; or None.
        damage: The damage in the frame.
    """

    color: Tensor
    pts: int
    duration: int | None = None
    alpha: Tensor | None = None
    damage: Damage = UNDAMAGED


class _Raw(NamedTuple):
    """Frames from the decoder, and the timestamps of the frames that it loses meanwhile."""

    frames: Iterator[VideoFrame]
    lost: list[int | None]


def turned(frame: Frame, rotation_deg: int) -> Frame:
    """Rotate a frame counterclockwise by a multiple of 90 degrees, as a player does."""
    turns = round(rotation_deg / 90)
    alpha = None if frame.alpha is None else frame.alpha.rot90(turns, (2, 3))
    return replace(frame, color=frame.color.rot90(turns, (2, 3)), alpha=alpha)


class VideoReader:
    """A context manager that reads the frames of a clip in display order.

    Timestamps are those of the file. If a frame has no timestamp, or one that is not later than the previous
    frame's, its timestamp is one frame duration after the previous frame's. In the place of a frame that
    cannot be decoded stands the one before it.

    Attributes:
        clip: Facts about the clip.
        skipped: Number of frames at the beginning that could not be decoded, and which are left out.

    Args:
        source: A path, or a binary file, which need not be seekable (a pipe).
        deinterlace: Whether to deinterlace interlaced frames; if False, they are refused.
        start_s: Start time, counted from the beginning of the file. The first frame is the first one at or
            after this time. None means the beginning of the file.
        end_s: End time, counted from the beginning of the file. Frames at or after this time are left out.
            None means the end of the file.
        strict: Whether damaged frames are refused.
        may_end_early: Whether to read a clip that is cut off, as far as it goes. The clip's notes say so.

    Raises:
        InputError: The source is missing, empty, cut off or not a clip; it has no video stream or an unknown
            codec; or it is interlaced (also raised while iterating).
    """

    def __init__(
        self,
        source: ClipSource,
        *,
        deinterlace: bool = False,
        start_s: float | None = None,
        end_s: float | None = None,
        strict: bool = False,
        may_end_early: bool = False,
    ) -> None:
        self._strict = strict
        self._name = name_of(source)
        self._deinterlace = deinterlace
        self._container = open_clip(source, may_end_early=may_end_early)
        try:
            self._stream = main_stream(self._container, self._name)
            decoding = self._decoding()
            decoded_frames = iter(decoding)
            first = next(decoded_frames, None)
            if first is None:
                raise InputError(f"{self._name} contains no frames")
            self._first = first
            self.clip: Clip = clip_of(source, self._container, self._stream, first)
            if may_end_early and isinstance(source, Path) and ends_early(source):
                notes = (*self.clip.notes, "the file is cut off, and what is left of it is kept")
                self.clip = replace(self.clip, notes=notes)
            self._check(first)
        except BaseException:
            self.close()
            raise
        self._unread: _Raw | None = _Raw(chain((first,), decoded_frames), decoding.lost)
        self.skipped = 0 if start_s else decoding.skipped
        self._first_pts = None if start_s is None else pts_at(self.clip, start_s)
        self._end_pts = None if end_s is None else pts_at(self.clip, end_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; frames that have been read stay valid."""
        self._container.close()

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames; this is possible only once if the source cannot seek.

        Raises:
            InputError: A frame is interlaced or of another size than the first; if strict, also damaged.
        """
        if self._first_pts is not None:
            return self.frames_from(self._first_pts)
        raw, self._unread = self._unread, None
        return self._frames(raw) if raw is not None else self.frames_from(self.clip.start_pts)

    def peek(self) -> Tensor:
        """Return the color of the file's first frame, (1, 3, H, W), without consuming the frame."""
        return to_rgb(self._first, self.clip)[0]

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """Iterate over the frames from a timestamp on; each frame is the same as in the whole clip.

        Args:
            pts: Timestamp of the first frame, in units of the clip's time_base.

        Raises:
            InputError: A frame cannot be read (see ``__iter__``), or the source cannot seek.
        """
        self._unread = None
        try:
            for frame in self._frames(self._sought(pts), pts):
                yield frame
                pts = frame.pts + 1
        except DamageError:
            if self._strict:
                raise
            # What a decoder makes of damage depends on everything that it has decoded before.
            yield from self._frames(self._from_beginning(), pts)

    def _decoding(self, *, strict: bool | None = None) -> Decoding:
        strict = self._strict if strict is None else strict
        return Decoding(self._container, self._stream, self._name, strict=strict)

    def _sought(self, pts: int) -> "_Raw":
        """Decode from a keyframe at or before a timestamp, or from the beginning if none is found.

        Damage is an error, unless the decoding is from the beginning.
        """
        for back_s in _STEPS_BACK_S:
            if not self._seek(pts - round(back_s / self.clip.time_base)):
                break
            decoding = self._decoding(strict=True)
            frames = iter(decoding)
            first = next(frames, None)
            if first is None:
                continue
            if first.pts is None:
                break  # timestamps are counted from the beginning
            if first.pts <= pts and not decoding.skipped:
                return _Raw(chain((first,), frames), decoding.lost)
        return self._from_beginning()

    def _from_beginning(self) -> "_Raw":
        if not self._seek(min(self._stream.start_time or 0, 0)):
            raise InputError(f"cannot seek in {self._name}")
        decoding = self._decoding()
        return _Raw(iter(decoding), decoding.lost)

    def _seek(self, pts: int) -> bool:
        """Return whether it was possible to go to a timestamp."""
        try:
            self._container.seek(pts, stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def _frames(self, raw: "_Raw", first_pts: int | None = None) -> Iterator[Frame]:
        frames: Iterator[VideoFrame] = (self._check(frame) for frame in raw.frames)
        if self._deinterlace:
            frames = deinterlaced(frames, self.clip.time_base)
        for frame, pts, stands_in in self._timed(frames, raw.lost):
            if first_pts is not None and pts < first_pts:
                continue
            if self._end_pts is not None and pts >= self._end_pts:
                return
            color, alpha = to_rgb(frame, self.clip)
            damage = Damage(lost=1) if stands_in else Damage(repaired=int(frame.is_corrupt))
            yield Frame(color, pts, frame.duration or None, alpha, damage)

    def _timed(
        self, raw: Iterator[VideoFrame], lost: list[int | None]
    ) -> Iterator[tuple[VideoFrame, int, bool]]:
        """Yield each frame with its timestamp, which is later than the previous one.

        A frame is yielded again for each lost frame that follows it, with True.
        """
        before: VideoFrame | None = None
        last = 0
        for frame in chain(raw, (None,)):
            while before is not None and lost and _is_before(lost[0], frame):
                pts = lost.pop(0)
                last = max(last + 1, pts) if pts is not None else last + self._duration(before)
                yield before, last, True
            if frame is None:
                return
            pts = self.clip.start_pts if frame.pts is None else frame.pts
            if before is not None and (frame.pts is None or frame.pts <= last):
                pts = last + self._duration(frame)
            before, last = frame, pts
            frame.pts = pts
            yield frame, pts, False

    def _duration(self, frame: VideoFrame) -> int:
        return int(frame.duration) or self._usual_duration()

    def _usual_duration(self) -> int:
        rate = self.clip.frame_rate or Fraction(25)
        return max(1, round(1 / (rate * self.clip.time_base)))

    def _check(self, frame: VideoFrame) -> VideoFrame:
        if frame.interlaced_frame and not self._deinterlace:
            raise InputError(f"{self._name} is interlaced", hint="use --deinterlace")
        if (frame.height, frame.width) != (self.clip.height, self.clip.width):
            raise InputError(
                f"{self._name} changes its size from {self.clip.width}x{self.clip.height} to "
                f"{frame.width}x{frame.height} in the middle, which is not supported"
            )
        return frame


def _is_before(pts: int | None, frame: VideoFrame | None) -> bool:
    return pts is None or frame is None or frame.pts is None or pts < frame.pts


def exact_s(time_s: float) -> Fraction:
    """Return the exact time that was meant, to a microsecond; a float is only the nearest binary number."""
    return Fraction(time_s).limit_denominator(1_000_000)


def pts_at(clip: Clip, time_s: float) -> int:
    """Return the first timestamp of a clip at or after a time counted from the beginning of its file."""
    exact = (exact_s(time_s) + clip.origin_s) / clip.time_base
    return -(-exact.numerator // exact.denominator)
