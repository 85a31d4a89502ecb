"""Reading of finished segments as one stream of packets, with the timestamps of the clip."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import closing
from fractions import Fraction
from pathlib import Path

from av import Packet, VideoStream
from av.container import InputContainer
from av.stream import Stream

from esc_cli.errors import InputError
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.encoding import FIRST_PTS
from esc_cli.media.video.library import open_clip, packets_of, reading_errors

_NO_DURATION_S = Fraction(1, 1000)
"""The unit of Matroska's timestamps, which some files state as the duration of a frame."""


class SegmentsError(InputError):
    """The segments are damaged, or are not those of the clip. They must be made again."""


class SegmentPackets:
    """The packets of all segments as one stream.

    Args:
        segments: Files written by ``SegmentWriter`` with the same settings, in order.
        clip: The source clip.
        shift_s: What is added to the timestamps, in seconds.

    Raises:
        SegmentsError: A segment is damaged or encoded differently from the others.
    """

    def __init__(self, segments: Sequence[Path], clip: Clip, shift_s: Fraction) -> None:
        self._segments = segments
        self._clip = clip
        self._shift = round(shift_s / clip.time_base)
        self._extradata: bytes | None = None
        self._last = (0, 1)  # the timestamp and the duration of the last frame of the last segment
        self._shown = [pts for segment in segments for pts in self._times(segment)]  # in decoding order
        self._sorted = sorted(self._shown)
        # Decoding times are the sorted display times, shifted earlier as far as the packet order requires.
        self._delay = max((s - pts for s, pts in zip(self._sorted, self._shown, strict=True)), default=0)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._shown)

    def packets(self, stream: VideoStream) -> Iterator["Packet[Stream]"]:
        """Yield the packets for a stream of the result, with their timestamps and durations there.

        Raises:
            InputError: A segment cannot be read.
        """
        index = 0
        for segment in self._segments:
            with closing(open_segment(segment)) as file, reading_errors(str(segment)):
                first = int(file.metadata[FIRST_PTS])
                for packet in video_packets(file):
                    pts = (packet.pts or 0) + first
                    packet.stream, packet.time_base = stream, self._clip.time_base
                    packet.pts = pts + self._shift
                    packet.dts = self._sorted[index] - self._delay + self._shift
                    packet.duration = self._duration(index, pts)
                    index += 1
                    yield packet

    def _times(self, segment: Path) -> list[int]:
        with closing(open_segment(segment)) as file, reading_errors(str(segment)):
            extradata = file.streams.video[0].codec_context.extradata or b""
            if self._extradata not in (None, extradata):
                raise SegmentsError(f"{segment} was encoded differently from the segments before it")
            self._extradata = extradata
            first = int(file.metadata[FIRST_PTS])
            found = [((packet.pts or 0) + first, packet.duration or 1) for packet in video_packets(file)]
            self._last = max(found, default=self._last)
            return [pts for pts, _ in found]

    def _duration(self, index: int, pts: int) -> int:
        """Return the time to the next frame; for the last packet, the duration of the last frame.

        The muxers of MP4 and MOV end the track with the duration of the packet that is decoded last.
        """
        place = bisect_left(self._sorted, pts)
        if index + 1 < len(self._sorted) and place + 1 < len(self._sorted):
            return self._sorted[place + 1] - pts
        if self._last[1] * self._clip.time_base <= _NO_DURATION_S and len(self._sorted) > 1:
            return self._sorted[-1] - self._sorted[-2]
        return self._last[1]


def open_segment(segment: Path) -> InputContainer:
    """Open a segment for reading; the caller closes it.

    Raises:
        SegmentsError: The segment is damaged, or is not a segment.
    """
    try:
        file = open_clip(segment)
    except InputError as error:
        raise SegmentsError(error.message) from error
    if FIRST_PTS not in file.metadata or not file.streams.video:
        file.close()
        raise SegmentsError(f"{segment} is not a segment of a clip")
    return file


def first_pts_of(segment: Path) -> int:
    """Return the timestamp of the first frame of a segment, in units of the clip's time_base.

    Raises:
        SegmentsError: The segment is damaged, or is not a segment.
    """
    with closing(open_segment(segment)) as file:
        return int(file.metadata[FIRST_PTS])


def video_packets(file: InputContainer) -> Iterator["Packet[Stream]"]:
    """Return the packets of the first video stream that have content."""
    return (packet for packet in packets_of(file, file.streams.video[0]) if packet.size)
