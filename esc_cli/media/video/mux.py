"""Muxing of segments and the source's other streams into one file, without encoding again."""

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import av
from av import AudioStream, Packet, VideoStream
from av.container import InputContainer, OutputContainer
from av.stream import Stream

if TYPE_CHECKING:
    from av.container.core import Chapter

from esc_cli.errors import OutputError
from esc_cli.media.video.clip import Clip, exact_s
from esc_cli.media.video.containers import Container, SoundChoice
from esc_cli.media.video.frame_times import RESTART_S
from esc_cli.media.video.iso_tags import keep_iso_tags
from esc_cli.media.video.library import (
    open_clip,
    open_target,
    open_with_sound,
    packets_of,
    reading_errors,
    writing_errors,
)
from esc_cli.media.video.reader import may_begin_again
from esc_cli.media.video.segments import SegmentPackets, SegmentsError, open_segment, video_packets
from esc_cli.media.video.sound import SoundConverter
from esc_cli.media.video.stream_copy import (
    Copies,
    add_conversion,
    add_copy,
    add_cover,
    stream_copies,
)

_MUXERS_OWN_TAGS = frozenset(("major_brand", "minor_version", "compatible_brands", "encoder"))

_FINE_UNIT_S = Fraction(1, 1000)
"""The coarsest unit of time in which copied packets are shifted: half of it is not noticed."""

_CLOCKED = ("mpegts", "mpeg")
"""Containers whose timestamps come from a running clock; the timestamps of the result begin at zero."""

_ENCODERS_OWN_TAGS = frozenset(("encoder", "duration", "alpha_mode"))


@dataclass(frozen=True)
class _Cut:
    """The part of the source that is kept, in seconds of the source's own time.

    The part begins at zero in the result. Without a start, nothing is cut off there.
    """

    start_s: Fraction | None
    end_s: Fraction | None
    shift_s: Fraction

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
    frames: int | None = None,
    start_s: float | None = None,
    end_s: float | None = None,
    with_copies: bool = True,
    sound: SoundChoice = "auto",
) -> tuple[str, ...]:
    """Write the result: the video of the segments, and the other streams that the container supports.

    Packets are copied unchanged, with their timestamps. Where the timestamps of a stream begin again, as in
    joined recordings, the rest of the stream is shifted to follow what is before it. A packet that the muxer
    refuses is left out. Chapters, tags, languages, dispositions and the rotation are kept.

    Args:
        segments: Files written by ``SegmentWriter`` with the same settings, in order.
        source: The clip from which the segments were made; None if there are only frames.
        target: The file to write; the caller passes a temporary name.
        container: Container of the target.
        clip: Facts of the source.
        frames: Number of frames that the segments must hold together; None if it is not known.
        start_s: Start of the kept part, counted from the beginning of the source file. It becomes the
            beginning of the result. None means that nothing is cut off at the start.
        end_s: End of the kept part, counted from the beginning of the source file. None means that nothing is
            cut off at the end.
        with_copies: Whether to copy the other streams.
        sound: What happens to sound.

    Returns:
        A sentence if packets were left out.

    Raises:
        InputError: The source cannot be read.
        SegmentsError: A segment is damaged or encoded differently from the others, or frames are missing.
        OutputError: The target cannot be written.
        DiskFullError: There is no space left.
    """
    cut = _cut_of(clip, start_s, end_s)
    with ExitStack() as stack:
        low = None if source is None else stack.enter_context(closing(open_with_sound(source)))
        held = Copies((), ())
        if source is not None and with_copies:
            held = stream_copies(source, container, sound)
        high = open_target(target, container.ffmpeg_name, container.muxer_options(clip.time_base))
        try:
            with reading_errors(str(source)):
                video = SegmentPackets(segments, clip, cut.shift_s)
                if frames is not None and video.count != frames:
                    raise SegmentsError(
                        f"the finished part of the result holds {video.count} of {frames} frames",
                        hint="run the same command again, which makes it anew",
                    )
                with closing(open_segment(segments[0])) as first:
                    streams = _add_streams(low, high, first, container, held, clip)
                refused = _write(low, high, video, streams, cut)
                tags = dict(high.metadata)
        except BaseException:
            _give_up(high)
            raise
        with writing_errors(target):
            high.close()
            if source is not None and container.is_iso:
                keep_iso_tags(source, target, _missing_tags(tags, target))
    if refused and _count_of_frames(target) != video.count:
        raise OutputError(f"{container.name} refuses frames of the video")
    return (f"{refused} damaged packets of sound or subtitles were left out",) if refused else ()


def _count_of_frames(file: Path) -> int:
    with closing(open_clip(file)) as opened:
        return sum(1 for _ in video_packets(opened)) if opened.streams.video else 0


def _cut_of(clip: Clip, start_s: float | None, end_s: float | None) -> _Cut:
    """Return the kept part. It starts where a frame can start, so that one shift is exact for all streams.

    AVI counts frames, so its unit is a whole frame.
    """
    end = None if end_s is None else exact_s(end_s) + clip.origin_s
    if start_s is not None:
        start = clip.pts_at(start_s) * clip.time_base
        return _Cut(start, end, -start)
    return _Cut(None, end, -clip.origin_s if clip.container in _CLOCKED else Fraction(0))


def _missing_tags(tags: Mapping[str, str], target: Path) -> dict[str, str]:
    """Return the tags that are not in the target, with the names that Matroska spells in capitals."""
    with closing(open_clip(target)) as file:
        there = {key.lower() for key in file.metadata}
    return {key.lower(): value for key, value in tags.items() if key.lower() not in there}


def _give_up(high: OutputContainer) -> None:
    try:
        high.close()
    except (av.FFmpegError, OSError):
        return  # the file is incomplete, and the caller removes it


@dataclass(frozen=True)
class _Streams:
    """The streams of the result.

    Attributes:
        video: The stream of the segments.
        copies: The copied streams, by their index in the source.
        converters: The converters of sound, by its index in the source.
    """

    video: VideoStream
    copies: Mapping[int, Stream]
    converters: Mapping[int, SoundConverter]


def _write(
    low: InputContainer | None, high: OutputContainer, video: SegmentPackets, streams: _Streams, cut: _Cut
) -> int:
    """Write all packets, and return how many the muxer refused."""
    refused = 0
    copied: Iterator[Packet[Stream]] = iter(())
    if low is not None:
        copied = _copied(low, streams, cut)
        high.metadata.update({k: v for k, v in low.metadata.items() if k.lower() not in _MUXERS_OWN_TAGS})
        high.set_chapters(_chapters(low, cut))
    with writing_errors(high.name.removeprefix("file:")):
        for packet in heapq.merge(video.packets(streams.video), copied, key=_time):
            try:
                high.mux(packet)
            except av.FFmpegError as error:
                if isinstance(error, OSError):  # such as a full disk
                    raise
                # The muxer holds packets back to interleave them: the refused one may be of another stream.
                refused += 1
    return refused


def _add_streams(
    low: InputContainer | None,
    high: OutputContainer,
    segment: InputContainer,
    container: Container,
    held: Copies,
    clip: Clip,
) -> _Streams:
    """Add all streams in the source's order."""
    if low is None:
        return _Streams(_add_video(high, segment, container, clip), {}, {})
    copies, converters = {}, {}
    for stream in low.streams:
        if stream.index == clip.stream_index:
            video = _add_video(high, segment, container, clip, stream.metadata)
            video.disposition = stream.disposition
        elif stream.index in held.streams:
            copies[stream.index] = add_copy(high, stream)
        elif stream.index in held.covers:
            add_cover(high, stream, held.covers[stream.index])
        elif stream.index in held.conversions:
            way, track = held.conversions[stream.index], cast(AudioStream, stream)
            converters[stream.index] = SoundConverter(way, track, add_conversion(high, track, way))
    return _Streams(video, copies, converters)


def _add_video(
    high: OutputContainer,
    segment: InputContainer,
    container: Container,
    clip: Clip,
    tags: Mapping[str, str] = MappingProxyType({}),
) -> VideoStream:
    encoded = segment.streams.video[0]
    stream = high.add_stream_from_template(encoded, opaque=True)
    tag = container.codec_tag(encoded.codec_context.name, encoded.codec_context.codec_tag)
    if tag is not None:
        stream.codec_context.codec_tag = tag
    alpha = {k: v for k, v in encoded.metadata.items() if k.lower() == "alpha_mode"}
    stream.time_base = clip.time_base
    stream.codec_context.framerate = clip.frame_rate or Fraction(0)
    stream.sample_aspect_ratio = clip.sample_aspect_ratio or Fraction(0)
    stream.metadata.update({k: v for k, v in tags.items() if k.lower() not in _ENCODERS_OWN_TAGS} | alpha)
    stream.set_display_matrix(clip.display_matrix or None)
    return stream


def _copied(low: InputContainer, streams: _Streams, cut: _Cut) -> Iterator["Packet[Stream]"]:
    """Yield the packets of the other streams."""
    copies, converters = streams.copies, streams.converters
    clocks = {index: _Clock(low.streams[index]) for index in (*copies, *converters)}
    for packet in packets_of(low):
        index = packet.stream.index
        if packet.size and index in copies and _cut_to(clocks[index].steadied(packet), cut):
            packet.stream = copies[index]
            yield _shifted(packet, cut.shift_s)
        elif packet.size and index in converters:
            yield from _converted(converters[index], clocks[index].steadied(packet), cut)
    for converter in converters.values():
        yield from _converted(converter, None, cut)


def _shifted(packet: "Packet[Stream]", shift_s: Fraction) -> "Packet[Stream]":
    """Shift a packet, in parts of its unit if that is coarse: AVI counts packets of sound."""
    parts = math.ceil(packet.time_base / _FINE_UNIT_S)
    unit = packet.time_base / parts
    shift = round(shift_s / unit)
    packet.pts = None if packet.pts is None else packet.pts * parts + shift
    packet.dts = None if packet.dts is None else packet.dts * parts + shift
    packet.duration, packet.time_base = (packet.duration or 0) * parts, unit
    return packet


def _converted(
    converter: SoundConverter, packet: "Packet[Stream] | None", cut: _Cut
) -> Iterator["Packet[Stream]"]:
    """Yield the converted sound of a packet that is in the part; None yields the last packets."""
    for frame in converter.frames(cast("Packet[AudioStream] | None", packet)):
        unit = Fraction(frame.time_base or 1)
        if cut.keeps((frame.pts or 0) * unit):
            frame.pts = (frame.pts or 0) + round(cut.shift_s / unit)
            yield from converter.encoded(frame)
    if packet is None:
        yield from converter.encoded(None)


class _Clock:
    """Keeps the decoding timestamps of one stream from going back, as muxers demand.

    Packets of sound and of video also need timestamps that differ; subtitles and data may begin together.
    Source: FFmpeg's libavformat/mux.c.
    """

    def __init__(self, stream: Stream) -> None:
        may_be_equal = stream.type not in ("audio", "video")
        self._step = 0 if may_be_equal else math.ceil(_FINE_UNIT_S / (stream.time_base or 1))
        self._restart = RESTART_S / (stream.time_base or 1)
        in_any_file = stream.type == "audio"
        self._may_restart = in_any_file or may_begin_again(cast(InputContainer, stream.container))
        self._shift = self._next = 0
        self._last: int | None = None

    def steadied(self, packet: "Packet[Stream]") -> "Packet[Stream]":
        """Move a packet that would be decoded too early for the muxer: before its predecessor, or with it.

        Where the timestamps begin again, all packets after it move as well. Elsewhere, only this one moves:
        damage makes two packets of one, with one timestamp, and the next ones are in step with the picture.
        """
        if packet.dts is None:
            return packet
        dts = packet.dts + self._shift
        if self._last is not None and dts < self._last + min(self._step, 1):
            if self._may_restart and self._last - dts > self._restart:
                self._shift += self._next - dts
                dts = self._next
            else:
                dts = self._last + self._step
        packet.pts = None if packet.pts is None else max(packet.pts + self._shift, dts)
        packet.dts = self._last = dts
        self._next = dts + max(packet.duration or 1, 1)
        return packet


def _cut_to(packet: "Packet[Stream]", cut: _Cut) -> bool:
    """Shorten a subtitle to the part; return whether any of the packet is in the part."""
    if packet.stream.type != "subtitle" or packet.pts is None or not packet.duration:
        return cut.keeps(_time(packet) if packet.stream.type == "video" else _display_time(packet))
    unit = Fraction(packet.time_base)
    shown = packet.pts * unit, (packet.pts + packet.duration) * unit
    start, end = cut.within(*shown)
    if (start, end) != shown:
        packet.pts = packet.dts = round(start / unit)
        packet.duration = max(0, round(end / unit) - packet.pts)
    return bool(packet.duration)


def _display_time(packet: "Packet[Stream]") -> Fraction:
    return _time(packet) if packet.pts is None else packet.pts * Fraction(packet.time_base)


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
