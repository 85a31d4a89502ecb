"""Muxing of segments and the source's other streams into one file, without encoding again."""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import av
from av import Packet, VideoStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

if TYPE_CHECKING:
    from av.container.core import Chapter

from esc_cli.errors import InputError, OutputError
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import Container
from esc_cli.media.video.encoding import FIRST_PTS
from esc_cli.media.video.library import (
    open_clip,
    open_target,
    packets_of,
    reading_errors,
    writing_errors,
)
from esc_cli.media.video.reader import exact_s
from esc_cli.media.video.stream_copy import Copies, add_copy, stream_copies

_MUXERS_OWN_TAGS = frozenset(("major_brand", "minor_version", "compatible_brands", "encoder"))
_CLOCKED = ("mpegts", "mpeg")
"""Containers whose timestamps come from a running clock; the timestamps of the result begin at zero."""

_ENCODERS_OWN_TAGS = frozenset(("encoder", "duration", "alpha_mode"))


@dataclass(frozen=True)
class _Cut:
    """The part of the source that is kept, in seconds of the source's own time.

    The part begins at zero in the result. Without a start, timestamps stay unchanged.
    """

    start_s: Fraction | None
    end_s: Fraction | None

    @property
    def shift_s(self) -> Fraction:
        return -self.start_s if self.start_s is not None else Fraction(0)

    def within(self, start_s: Fraction, end_s: Fraction) -> tuple[Fraction, Fraction]:
        """Shorten an interval to the part; an interval outside the part ends before it begins."""
        start = start_s if self.start_s is None else max(start_s, self.start_s)
        return start, end_s if self.end_s is None else min(end_s, self.end_s)

    def keeps(self, time_s: Fraction) -> bool:
        after = self.start_s is None or time_s >= self.start_s
        return after and (self.end_s is None or time_s < self.end_s)


def mux(
    segments: Sequence[Path],
    source: Path | None,
    target: Path,
    container: Container,
    clip: Clip,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    with_copies: bool = True,
) -> tuple[str, ...]:
    """Write the result: the video of the segments, and the other streams that the container supports.

    Packets are copied unchanged, with their timestamps. Where the timestamps of a stream jump back, as in
    joined recordings, the rest of the stream is shifted to follow what is before it. A packet that the muxer
    refuses is left out. Chapters, tags, languages, dispositions and the rotation are kept.

    Args:
        segments: Files written by ``SegmentWriter`` with the same settings, in order.
        source: The clip from which the segments were made; None if there are only frames.
        target: The file to write; the caller passes a temporary name.
        container: Container of the target.
        clip: Facts of the source.
        start_s: Start of the kept part, counted from the beginning of the source file. It becomes the
            beginning of the result. None means that nothing is cut off at the start.
        end_s: End of the kept part, counted from the beginning of the source file. None means that nothing is
            cut off at the end.
        with_copies: Whether to copy the other streams.

    Returns:
        A sentence if packets were left out.

    Raises:
        InputError: The source cannot be read, or a segment is damaged or encoded differently from the others.
        OutputError: The target cannot be written.
        DiskFullError: There is no space left.
    """
    if start_s is None and clip.container in _CLOCKED:
        start_s = 0.0
    cut = _Cut(_own_time(clip, start_s), _own_time(clip, end_s))
    with ExitStack() as stack:
        low = None if source is None else stack.enter_context(closing(open_clip(source, may_end_early=True)))
        held = Copies((), ())
        if source is not None and with_copies:
            held = stream_copies(source, container)
        high = open_target(target, container.ffmpeg_name, container.muxer_options(clip.time_base))
        try:
            with reading_errors(str(source)):
                video = _Video(segments, container, clip, cut)
                refused = _write(low, high, video, held, clip, cut)
        except BaseException:
            _give_up(high)
            raise
        with writing_errors(target):
            high.close()
    if refused and _count_of_frames(target) != video.count:
        raise OutputError(f"{container.name} refuses frames of the video")
    return (f"{refused} damaged packets of sound or subtitles were left out",) if refused else ()


def _count_of_frames(file: Path) -> int:
    with closing(open_clip(file)) as opened:
        return sum(1 for _ in _video_packets(opened))


def _own_time(clip: Clip, time_s: float | None) -> Fraction | None:
    return None if time_s is None else exact_s(time_s) + clip.origin_s


def _give_up(high: OutputContainer) -> None:
    try:
        high.close()
    except (av.FFmpegError, OSError):
        return  # the file is incomplete, and the caller removes it


def _write(
    low: InputContainer | None, high: OutputContainer, video: "_Video", held: Copies, clip: Clip, cut: _Cut
) -> int:
    """Write all packets, and return how many the muxer refused."""
    refused = 0
    durations: dict[int, int] = {}
    copied: Iterator[Packet[Stream]] = iter(())
    if low is None:
        video.stream = _add_video(high, video, clip)
    else:
        copied = _copied(low, _add_streams(low, high, video, held, clip), clip, cut, durations)
        high.metadata.update({k: v for k, v in low.metadata.items() if k.lower() not in _MUXERS_OWN_TAGS})
        high.set_chapters(_chapters(low, cut))
    with writing_errors(high.name.removeprefix("file:")):
        for packet in heapq.merge(video.packets(durations), copied, key=_time):
            try:
                high.mux(packet)
            except av.FFmpegError as error:
                if isinstance(error, OSError):  # such as a full disk
                    raise
                # The muxer holds packets back to interleave them: the refused one may be of another stream.
                refused += 1
    return refused


def _add_streams(
    low: InputContainer, high: OutputContainer, video: "_Video", held: Copies, clip: Clip
) -> dict[int, Stream]:
    """Add all streams in the source's order; return the copied ones by their index in the source."""
    streams = {}
    for stream in low.streams:
        if stream.index == clip.stream_index:
            video.stream = _add_video(high, video, clip, stream.metadata)
            video.stream.disposition = stream.disposition
        elif stream.index in held.streams:
            streams[stream.index] = add_copy(high, stream)
    return streams


def _add_video(
    high: OutputContainer, video: "_Video", clip: Clip, tags: Mapping[str, str] = MappingProxyType({})
) -> VideoStream:
    with closing(open_clip(video.segments[0])) as first:
        encoded = first.streams.video[0]
        stream = high.add_stream_from_template(encoded, opaque=True)
        tag = video.container.codec_tag(encoded.codec_context.name, encoded.codec_context.codec_tag)
        if tag is not None:
            stream.codec_context.codec_tag = tag
        alpha = {k: v for k, v in encoded.metadata.items() if k.lower() == "alpha_mode"}
    stream.time_base = clip.time_base
    stream.codec_context.framerate = clip.frame_rate or Fraction(0)
    stream.sample_aspect_ratio = clip.sample_aspect_ratio or Fraction(0)
    stream.metadata.update({k: v for k, v in tags.items() if k.lower() not in _ENCODERS_OWN_TAGS} | alpha)
    stream.set_display_matrix(clip.display_matrix or None)
    return stream


# The video


class _Video:
    """The packets of all segments as one stream."""

    def __init__(self, segments: Sequence[Path], container: Container, clip: Clip, cut: _Cut) -> None:
        self.segments = segments
        self.container = container
        self.stream: VideoStream
        self._clip = clip
        self._shift = round(cut.shift_s / clip.time_base)
        self._extradata: bytes | None = None
        self._shown = [pts for segment in segments for pts in self._times(segment)]  # in decoding order
        self._sorted = sorted(self._shown)
        # Decoding times are the sorted display times, shifted earlier as far as the packet order requires.
        self._delay = max((s - pts for s, pts in zip(self._sorted, self._shown, strict=True)), default=0)

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self._shown)

    def packets(self, durations: dict[int, int]) -> Iterator["Packet[Stream]"]:
        """Yield the packets, with their timestamps and durations in the result.

        Args:
            durations: Durations of the source's frames by timestamp; filled while the source is read.
        """
        index = 0
        for segment in self.segments:
            with closing(_opened(segment)) as file, reading_errors(str(segment)):
                first = int(file.metadata[FIRST_PTS])
                for packet in _video_packets(file):
                    pts = (packet.pts or 0) + first
                    packet.stream, packet.time_base = self.stream, self._clip.time_base
                    packet.pts = pts + self._shift
                    packet.dts = self._sorted[index] - self._delay + self._shift
                    packet.duration = self._duration(index, pts, durations)
                    index += 1
                    yield packet

    def _times(self, segment: Path) -> list[int]:
        with closing(_opened(segment)) as file, reading_errors(str(segment)):
            extradata = file.streams.video[0].codec_context.extradata or b""
            if self._extradata not in (None, extradata):
                raise InputError(f"{segment} was encoded differently from the segments before it")
            self._extradata = extradata
            return [(packet.pts or 0) + int(file.metadata[FIRST_PTS]) for packet in _video_packets(file)]

    def _duration(self, index: int, pts: int, durations: dict[int, int]) -> int:
        """Return the time to the next frame; for the last packet, the source's duration of the last frame.

        The muxers of MP4 and MOV end the track with the duration of the packet that is decoded last.
        """
        place = bisect_left(self._sorted, pts)
        if index + 1 < len(self._sorted) and place + 1 < len(self._sorted):
            return self._sorted[place + 1] - pts
        usual = self._sorted[-1] - self._sorted[-2] if len(self._sorted) > 1 else 1
        return durations.get(self._sorted[-1]) or usual


def _opened(segment: Path) -> InputContainer:
    file = open_clip(segment)
    if FIRST_PTS not in file.metadata or not file.streams.video:
        file.close()
        raise InputError(f"{segment} is not a segment of a clip")
    return file


def _video_packets(file: InputContainer) -> Iterator["Packet[Stream]"]:
    return (packet for packet in packets_of(file, file.streams.video[0]) if packet.size)


# Everything else


def _copied(
    low: InputContainer, streams: dict[int, Stream], clip: Clip, cut: _Cut, durations: dict[int, int]
) -> Iterator["Packet[Stream]"]:
    """Yield the packets of the other streams, and record the durations of the video's frames."""
    clocks = {index: _Clock() for index in streams}
    for packet in packets_of(low):
        index = packet.stream.index
        if index == clip.stream_index:
            if packet.pts is not None and packet.duration:
                durations[packet.pts] = packet.duration
        elif packet.size and index in streams and _cut_to(clocks[index].steadied(packet), cut):
            shift = round(cut.shift_s / packet.time_base)
            packet.stream = streams[index]
            packet.pts = None if packet.pts is None else packet.pts + shift
            packet.dts = None if packet.dts is None else packet.dts + shift
            yield packet


class _Clock:
    """Keeps the decoding timestamps of one stream rising, as muxers demand."""

    def __init__(self) -> None:
        self._shift = self._next = 0
        self._last: int | None = None

    def steadied(self, packet: "Packet[Stream]") -> "Packet[Stream]":
        """Shift a packet, and all after it, if it would be decoded before the packet that precedes it."""
        if packet.dts is None:
            return packet
        if self._last is not None and packet.dts + self._shift <= self._last:
            self._shift = self._next - packet.dts
        packet.dts += self._shift
        packet.pts = None if packet.pts is None else max(packet.pts + self._shift, packet.dts)
        self._last, self._next = packet.dts, packet.dts + max(packet.duration or 1, 1)
        return packet


def _cut_to(packet: "Packet[Stream]", cut: _Cut) -> bool:
    """Shorten a subtitle to the part; return whether any of the packet is in the part."""
    if packet.stream.type != "subtitle" or packet.pts is None or not packet.duration:
        return cut.keeps(_time(packet))
    unit = Fraction(packet.time_base)
    shown = packet.pts * unit, (packet.pts + packet.duration) * unit
    start, end = cut.within(*shown)
    if (start, end) != shown:
        packet.pts = packet.dts = round(start / unit)
        packet.duration = max(0, round(end / unit) - packet.pts)
    return bool(packet.duration)


def _time(packet: "Packet[Stream]") -> Fraction:
    """Return the decoding time of a packet, in seconds; packets without a timestamp come first."""
    stamp = packet.dts if packet.dts is not None else packet.pts
    return Fraction(stamp or 0) * Fraction(packet.time_base)


def _chapters(low: InputContainer, cut: _Cut) -> list["Chapter"]:
    """Return the chapters in the kept part, shifted with it."""
    chapters: list[Chapter] = []
    for chapter in low.chapters():
        unit = chapter["time_base"] or Fraction(1)
        start, end = cut.within(chapter["start"] * unit, chapter["end"] * unit)
        if start < end or (start == end == chapter["start"] * unit and cut.keeps(start)):
            chapter["start"], chapter["end"] = (round((time + cut.shift_s) / unit) for time in (start, end))
            chapters.append(chapter)
    return chapters
