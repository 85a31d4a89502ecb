"""Reading the frames of a clip as RGB, each with its timestamp."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property, lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Self, cast

import av
from av import Packet, VideoFrame
from av.container import InputContainer
from av.stream import Stream
from torch import Tensor

from esc_cli.errors import DamageError, InputError
from esc_cli.media.video.clip import Clip, clip_of, has_captions, main_stream
from esc_cli.media.video.decoding import Decoding, deinterlaced
from esc_cli.media.video.frame import Damage, Frame
from esc_cli.media.video.frame_times import FrameTimes, Placed, has_display_times
from esc_cli.media.video.library import ClipSource, name_of, open_clip, packets_of, reading_errors
from esc_cli.media.video.pixels import resized, to_rgb
from esc_cli.media.video.truncation import ends_early

_NO_TIMESTAMPS = cast(int, av.format.Flags.no_timestamps.value)
_CAN_BEGIN_AGAIN = cast(int, av.format.Flags.ts_discont.value)
"""A property of formats whose timestamps may begin again, as in recordings that were joined."""

_STEPS_BACK_S = (0, 2, 20)
"""How far before its timestamp a frame is looked for, because some indices use decoding times."""


class VideoReader:
    """A context manager that reads the frames of a clip in display order.

    All frames get the size of the first one, because recordings of broadcasts and of browsers may change
    their size. Timestamps are those of the file. ``FrameTimes`` says what happens if they are missing, equal
    or out of order. In the place of a frame that cannot be decoded stands the one before it.

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
        strict: Whether damaged frames, and those of another size than the first one, are refused.
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
        self._strict, self._may_end_early = strict, may_end_early
        self._name = name_of(source)
        self._deinterlace = deinterlace
        self._open = partial(open_clip, source, may_end_early=may_end_early)
        self._path = source if isinstance(source, Path) else None
        self._container = self._open()
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
        self._unread: Iterator[Placed] | None = _filled(chain((first,), decoded_frames), decoding.lost)
        self.skipped = 0 if start_s else decoding.skipped
        self._first_pts = None if start_s is None else self.clip.pts_at(start_s)
        self._end_pts = None if end_s is None else self.clip.pts_at(end_s)

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
            InputError: A frame is interlaced; if strict, also damaged or of another size than the first.
        """
        raw, self._unread = self._unread, None
        if raw is None or self._first_pts is not None:
            return self._begun_again()
        return self._frames(raw)

    def peek(self) -> Tensor:
        """Return the color of the file's first frame, (1, 3, H, W), without consuming the frame."""
        return to_rgb(self._first, self.clip)[0]

    def times(self) -> tuple[int, ...] | None:
        """Return the timestamps of the frames that iteration yields, which are read from the packets.

        They are not certain, because a decoder may yield fewer or more frames than there are packets.

        Returns:
            The timestamps, in order. None if the packets do not tell them, or if the frames depend on all
            frames before them, as deinterlaced ones do: the filter treats its first frame differently.

        Raises:
            InputError: The file cannot be read, or the source cannot seek.
        """
        if self._deinterlace or self.skipped or not self._has_one_clock:
            return None
        self._unread = None
        self._rewind()
        times: set[int] = set()
        with reading_errors(self._name):
            for packet in packets_of(self._container, self._stream):
                if packet.size:
                    if packet.pts is None or packet.pts in times or packet.is_discard or packet.is_corrupt:
                        return None
                    times.add(packet.pts)
        return tuple(pts for pts in sorted(times) if self._keeps(pts))

    def _keeps(self, pts: int) -> bool:
        """Return whether a frame is between the start and the end."""
        begun = self._first_pts is None or pts >= self._first_pts
        return begun and (self._end_pts is None or pts < self._end_pts)

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """Iterate over the frames from a timestamp on; each frame is the same as in the whole clip.

        Args:
            pts: Timestamp of the first frame, in units of the clip's time_base.

        Raises:
            InputError: A frame cannot be read (see ``__iter__``), or the source cannot seek.
        """
        self._unread = None
        return self._frames_from(pts)

    def _frames_from(self, pts: int, skip: int = 0) -> Iterator[Frame]:
        given = 0
        try:
            for frame in self._frames(self._sought(pts), pts, skip):
                yield frame
                given += 1
        except DamageError:
            if self._strict:
                raise
            # What a decoder makes of damage depends on everything that it has decoded before.
            yield from self._frames(self._rewound(), pts, skip + given)

    def frames_after(self, count: int, pts: int | None) -> Iterator[Frame]:
        """Iterate over the frames that iteration yields after its first ones; each is the same as there.

        Args:
            count: Number of frames to leave out.
            pts: Timestamp of the last of these frames, which is sought to save time. If it is None, or if it
                is not found, these frames are decoded.

        Raises:
            InputError: A frame cannot be read (see ``__iter__``), or the source cannot seek.
        """
        self._unread = None
        return self._begun_again(count) if pts is None else self._frames_after(count, pts)

    def _frames_after(self, count: int, pts: int) -> Iterator[Frame]:
        try:
            frames = self._frames(self._sought(pts), pts)
            last = next(frames, None)
            if last is not None and last.pts == pts and last.can_be_sought:
                for frame in frames:
                    yield frame
                    count += 1
                return
        except DamageError:
            if self._strict:
                raise
        yield from self._begun_again(count)

    def _begun_again(self, skip: int = 0) -> Iterator[Frame]:
        if self._first_pts is not None:
            return self._frames_from(self._first_pts, skip)
        return self._frames(self._rewound(), None, skip)

    def _decoding(self, *, strict: bool | None = None) -> Decoding:
        strict = self._strict if strict is None else strict
        return Decoding(
            self._container, self._stream, self._name, strict=strict, may_end_early=self._may_end_early
        )

    def _sought(self, pts: int) -> Iterator[Placed]:
        """Decode from a keyframe at or before a timestamp, or from the beginning if none is found.

        Damage is an error, unless the decoding is from the beginning.
        """
        for back_s in _STEPS_BACK_S if self._has_one_clock else ():
            if not self._seek(max(pts - round(back_s / self.clip.time_base), self._beginning)):
                break
            decoding = self._decoding(strict=True)
            frames = iter(decoding)
            first = next(frames, None)
            if first is None:
                continue
            if first.pts is None:
                break  # timestamps are counted from the beginning
            if first.pts <= pts and not decoding.skipped:
                return _filled(chain((first,), frames), decoding.lost)
        return self._rewound()

    @cached_property
    def _has_one_clock(self) -> bool:
        """Whether a timestamp stands for one frame: not if they are counted, or begin again in the file."""
        if self._container.format.flags & _NO_TIMESTAMPS or not has_display_times(self.clip, self._stream):
            return False
        return not may_begin_again(self._container) or self._never_begins_again()

    def _never_begins_again(self) -> bool:
        if self._path is not None:
            status = self._path.stat()
            return _clock_of_file(self._path, status.st_size, status.st_mtime_ns)
        self._rewind()
        with reading_errors(self._name):
            return _rises(packets_of(self._container, self._stream))

    def _rewound(self) -> Iterator[Placed]:
        self._rewind()
        decoding = self._decoding()
        return _filled(iter(decoding), decoding.lost)

    def _rewind(self) -> None:
        """Go to the beginning. A stream without a container, which has no index, is opened again."""
        if self._seek(self._beginning):
            return
        if self._path is None:
            raise InputError(f"cannot seek in {self._name}")
        self._container.close()
        self._container = self._open()
        self._stream = main_stream(self._container, self._name)

    @property
    def _beginning(self) -> int:
        return min(self._stream.start_time or 0, 0)

    def _seek(self, pts: int) -> bool:
        """Return whether it was possible to go to a timestamp."""
        try:
            self._container.seek(pts, stream=self._stream)
        except av.FFmpegError:
            return False
        return True

    def _frames(
        self, decoded: Iterator[Placed], first_pts: int | None = None, skip: int = 0
    ) -> Iterator[Frame]:
        times = FrameTimes(self.clip, self._stream)
        lost: set[int] = set()
        raw = _in_place(times.ordered(map(self._checked, decoded)), lost)
        if self._deinterlace:
            raw = deinterlaced(raw, self.clip.time_base)
        for frame in raw:
            pts = frame.pts or 0
            if first_pts is not None and pts < first_pts:
                continue
            if self._end_pts is not None and pts >= self._end_pts:
                return
            if skip:
                skip -= 1
                continue
            fits, stands_in = self._fits(frame), pts in lost
            damage = Damage(int(stands_in), int(frame.is_corrupt and not stands_in), int(not fits))
            color, alpha = to_rgb(frame if fits else resized(frame, self.clip), self.clip)
            captions = None if stands_in else _captions(frame)  # they must not be shown twice
            yield Frame(
                color, pts, frame.duration or None, alpha, not times.disturbed, captions, damage=damage
            )

    def _checked(self, placed: Placed) -> Placed:
        self._check(placed.frame)
        return placed

    def _check(self, frame: VideoFrame) -> VideoFrame:
        if frame.interlaced_frame and not self._deinterlace:
            raise InputError(f"{self._name} is interlaced", hint="use --deinterlace")
        if self._strict and not self._fits(frame):
            raise InputError(
                f"{self._name} changes its size from {self.clip.width}x{self.clip.height} to "
                f"{frame.width}x{frame.height} in the middle"
            )
        return frame

    def _fits(self, frame: VideoFrame) -> bool:
        """Return whether a frame has the size of the clip, which is that of its first frame."""
        return (frame.height, frame.width) == (self.clip.height, self.clip.width)


def may_begin_again(container: InputContainer) -> bool:
    """Return whether timestamps may begin again within a file of this format."""
    return bool(container.format.flags & _CAN_BEGIN_AGAIN)


@lru_cache(maxsize=64)
def _clock_of_file(path: Path, size_bytes: int, modified_ns: int) -> bool:
    """Return whether the timestamps of a file never begin again, for which all of the file is read.

    The answer is kept, because a worker of a cluster opens a clip once for each segment.
    """
    with closing(open_clip(path, may_end_early=True)) as container, reading_errors(name_of(path)):
        return _rises(packets_of(container, main_stream(container, name_of(path))))


def _rises(packets: Iterator["Packet[Stream]"]) -> bool:
    """Return whether the decoding times of packets never go back."""
    last: int | None = None
    for packet in packets:
        if packet.dts is not None and last is not None and packet.dts < last:
            return False
        last = last if packet.dts is None else packet.dts
    return True


def _filled(frames: Iterator[VideoFrame], lost: list[int | None]) -> Iterator[Placed]:
    """Yield each frame, and again for each lost one that follows it.

    Args:
        frames: Decoded frames.
        lost: The timestamps of frames that are lost while the others are decoded.
    """
    before: VideoFrame | None = None
    for frame in chain(frames, (None,)):
        while before is not None and lost and _is_before(lost[0], frame):
            yield Placed(before, lost.pop(0), before.duration, stands_in=True)
        if frame is not None:
            yield Placed(frame, frame.pts, frame.duration)
        before = frame


def _is_before(pts: int | None, frame: VideoFrame | None) -> bool:
    return pts is None or frame is None or frame.pts is None or pts < frame.pts


def _in_place(frames: Iterator[Placed], lost: set[int]) -> Iterator[VideoFrame]:
    """Yield frames with their timestamps, and collect the timestamps of lost ones."""
    for placed in frames:
        placed.frame.pts = placed.pts
        if placed.stands_in and placed.pts is not None:
            lost.add(placed.pts)
        yield placed.frame


def _captions(frame: VideoFrame) -> VideoFrame | None:
    """Return a tiny copy of a frame with captions; PyAV moves them only from one frame to another."""
    return frame.reformat(width=2, height=2, format="gray") if has_captions(frame) else None
