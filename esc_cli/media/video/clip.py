"""Facts about a clip: its container, video stream and colors, read from the headers and the first frame."""

import struct
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av import VideoFrame, VideoStream
from av.container import InputContainer
from av.sidedata.sidedata import SideData, Type
from av.video.codeccontext import VideoCodecContext

from esc_cli.errors import InputError
from esc_cli.media.video.containers import is_webm
from esc_cli.media.video.decoding import decoded
from esc_cli.media.video.library import ClipSource, head_of, name_of, open_clip, packets_of, reading_errors

USUAL_RATE = Fraction(25)
"""Frames per second where none are stated. Source: FFmpeg, libavformat/img2dec.c (its default)."""

UNSPECIFIED = 2
"""The code point of H.273 for an unspecified matrix, primaries or transfer."""

_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class ColorTags:
    """The color tags of a video stream. Source: ITU-T H.273, tables 2 to 4.

    Attributes:
        full_range: Whether luma goes from 0 to 255 instead of 16 to 235 (for 8 bits).
        matrix: Matrix coefficients: 1 BT.709, 5 and 6 BT.601, 9 BT.2020, 0 RGB, 2 unspecified.
        primaries: Color primaries; 2 unspecified.
        transfer: Transfer characteristics; 2 unspecified, 16 PQ, 18 HLG.
        range_stated: Whether the stream states its range; if not, limited range is assumed.
    """

    full_range: bool = False
    matrix: int = UNSPECIFIED
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED
    range_stated: bool = True


@dataclass(frozen=True)
class Hdr:
    """Static HDR10 metadata about the light levels of a film and the display on which it was made.

    Attributes:
        primaries: (x, y) of red, green, blue and white on the CIE 1931 diagram; empty if not stated.
        luminance: Minimum and maximum luminance, in cd/m²; empty if not stated.
        max_content: Maximum light level of a pixel (MaxCLL), in cd/m²; 0 if not stated.
        max_average: Maximum mean light level of a frame (MaxFALL), in cd/m²; 0 if not stated.

    Source: SMPTE ST 2086, CTA-861.3.
    """

    primaries: tuple[tuple[Fraction, Fraction], ...] = ()
    luminance: tuple[Fraction, ...] = ()
    max_content: int = 0
    max_average: int = 0


@dataclass(frozen=True)
class Clip:
    """Facts about a clip's main video stream, the first one that is not an attached picture.

    Attributes:
        container: FFmpeg's short name: `mp4`, `mov`, `matroska`, `webm`, `yuv4mpegpipe`, ...
        codec: FFmpeg's name of the codec: `h264`, `hevc`, `vp9`, ...
        height, width: Size of the decoded frames, in pixels, before the rotation is applied.
        pixel_format: FFmpeg's name of the pixel format: `yuv420p`, ...
        depth_bits: Bits per sample.
        alpha, gray, interlaced: Whether the first frame has alpha, is gray, or is interlaced.
        time_base: Unit of timestamps, in seconds.
        frame_rate: Mean frame rate, in frames per second; None if unknown.
        frames: Number of frames from the header, or an estimate from the duration; None if unknown.
        duration_s: Duration of the video stream, or of the file, in seconds; None if unknown.
        color: Color tags.
        sample_aspect_ratio: Width of a pixel divided by its height; None if not stated.
        rotation_deg: Counterclockwise rotation that players apply, in degrees.
        display_matrix: The nine numbers that state the rotation, in FFmpeg's order; empty if there are none.
        start_pts: Timestamp of the first frame, in units of time_base.
        origin_s: Beginning of the file's own time, from which `start` and `end` are counted; nearly always 0.
        hdr: Static HDR metadata, or None.
        captions: Whether the first frame carries closed captions. Source: CTA-708, ATSC A/53 part 4.
        stream_index: Index of the stream in the file.
        notes: One sentence for each unusual property.
        of_pictures: Whether the frames come from picture files, which have no other streams.
    """

    container: str
    codec: str
    height: int
    width: int
    pixel_format: str
    depth_bits: int
    alpha: bool
    gray: bool
    interlaced: bool
    time_base: Fraction
    frame_rate: Fraction | None
    frames: int | None
    duration_s: float | None
    color: ColorTags
    sample_aspect_ratio: Fraction | None
    rotation_deg: int
    display_matrix: tuple[int, ...]
    start_pts: int
    origin_s: Fraction
    hdr: Hdr | None
    stream_index: int
    captions: bool = False
    notes: tuple[str, ...] = ()
    of_pictures: bool = False

    @property
    def rate(self) -> Fraction:
        """Frames per second: ``frame_rate``, or ``USUAL_RATE`` if it is unknown."""
        return self.frame_rate or USUAL_RATE

    @property
    def usual_duration(self) -> int:
        """Duration of a frame at ``rate``, in units of time_base, at least 1."""
        return max(1, round(1 / (self.rate * self.time_base)))

    @property
    def swaps_sides(self) -> bool:
        """Whether the rotation swaps height and width."""
        return self.rotation_deg % 180 != 0

    def pts_at(self, time_s: float) -> int:
        """Return the first timestamp at or after a time that is counted from the beginning of the file."""
        exact = (exact_s(time_s) + self.origin_s) / self.time_base
        return -(-exact.numerator // exact.denominator)


def exact_s(time_s: float) -> Fraction:
    """Return the exact time that was meant, to a microsecond; a float is only the nearest binary number."""
    return Fraction(time_s).limit_denominator(_MICROSECONDS)


def probe_clip(source: ClipSource) -> Clip:
    """Return the facts about a clip from its headers and its first frame.

    Args:
        source: A path, or a seekable binary file, which is read from its current position.

    Raises:
        InputError: The source is missing, empty, cut off or not a clip, or it has no video stream, an
            unknown codec or Dolby Vision's own colors.
    """
    container = open_clip(source)
    with closing(container):
        stream = main_stream(container, name_of(source))
        frame = next(decoded(container, stream, name_of(source)), None)
        if frame is None:
            raise InputError(f"{name_of(source)} contains no frames")
        return clip_of(source, container, stream, frame)


_GUESSED = ("mpeg",)
"""Containers whose duration may be a guess from the bit rate that the video states."""


def counted(source: Path, clip: Clip) -> Clip:
    """Return the facts with the number of frames and the duration, which some files do not state.

    For such files, as streams without a container, the packets are counted. That takes as long as reading the
    file.

    Raises:
        InputError: The source cannot be read.
    """
    if clip.frames is not None and clip.container not in _GUESSED:
        return clip
    frames, end, start = 0, None, clip.start_pts
    with closing(open_clip(source, may_end_early=True)) as container, reading_errors(name_of(source)):
        for packet in packets_of(container, main_stream(container, name_of(source))):
            frames += bool(packet.size)
            if packet.pts is not None:
                end = max(end or start, packet.pts + (packet.duration or 0))
    if end is not None:
        return replace(clip, frames=frames, duration_s=float((end - start) * clip.time_base))
    return replace(
        clip, frames=frames, duration_s=float(frames / clip.frame_rate) if clip.frame_rate else None
    )


def main_stream(container: InputContainer, name: str) -> VideoStream:
    """Return the first video stream that is not an attached picture, such as an album cover.

    Raises:
        InputError: There is no video stream, or its codec is unknown.
    """
    attached = av.stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & attached]
    if not streams:
        raise InputError(f"{name} has no video stream")
    if streams[0].codec_context is None:
        raise InputError(f"the video stream of {name} has a codec that this program does not know")
    return streams[0]


def clip_of(source: ClipSource, container: InputContainer, stream: VideoStream, frame: VideoFrame) -> Clip:
    """Collect the facts about a stream and its first decoded frame."""
    duration_s = _duration_s(container, stream)
    rate = Fraction(stream.average_rate) if stream.average_rate else None
    components = frame.format.components
    return Clip(
        container=_container_name(source, container),
        codec=stream.codec_context.codec.canonical_name,
        height=frame.height,
        width=frame.width,
        pixel_format=frame.format.name,
        depth_bits=max(component.bits for component in components),
        alpha=any(component.is_alpha for component in components),
        gray=frame.format.name.startswith(("gray", "ya8", "ya16", "mono")),
        interlaced=bool(frame.interlaced_frame),
        time_base=Fraction(stream.time_base or 1),
        frame_rate=rate,
        frames=_frames(stream, rate, duration_s),
        duration_s=duration_s,
        color=_color(frame, stream.codec_context),
        sample_aspect_ratio=_aspect(stream),
        rotation_deg=frame.rotation,
        display_matrix=_display_matrix(frame),
        start_pts=_start_pts(stream, frame),
        origin_s=_origin_s(container),
        hdr=_hdr(frame),
        stream_index=stream.index,
        captions=has_captions(frame),
        notes=_dynamic_notes(name_of(source), frame),
    )


def _container_name(source: ClipSource, container: InputContainer) -> str:
    names: list[str] = container.format.name.split(",")
    if "mp4" in names:
        return "mov" if container.metadata.get("major_brand", "qt  ") == "qt  " else "mp4"
    if "webm" in names and isinstance(source, Path):
        return "webm" if is_webm(head_of(source)) else "matroska"
    return names[0]


def _duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    return container.duration / _MICROSECONDS if container.duration else None


def _frames(stream: VideoStream, rate: Fraction | None, duration_s: float | None) -> int | None:
    if stream.frames:
        return int(stream.frames)
    return round(rate * Fraction(duration_s)) if rate and duration_s else None


def _origin_s(container: InputContainer) -> Fraction:
    """Return the start of the first stream, of which the library states only the nearest microsecond.

    A time that was rounded up would be later than the first packet.
    """
    rounded = Fraction(container.start_time or 0, _MICROSECONDS)
    starts = (stream.start_time * Fraction(stream.time_base or 0) for stream in container.streams
              if stream.start_time is not None)  # fmt: skip
    return min((start for start in starts if abs(start - rounded) * _MICROSECONDS < 1), default=rounded)


def _start_pts(stream: VideoStream, frame: VideoFrame) -> int:
    return int(frame.pts if frame.pts is not None else stream.start_time or 0)


def _aspect(stream: VideoStream) -> Fraction | None:
    ratio = stream.sample_aspect_ratio
    return Fraction(ratio) if ratio else None


def _color(frame: VideoFrame, context: VideoCodecContext) -> ColorTags:
    """Return the color tags of a frame, and those of the container that the frame does not state.

    The decoder of VP9 with alpha knows only the matrix and the range.
    """
    full = av.video.reformatter.ColorRange.JPEG

    def stated(of_frame: int, of_container: int) -> int:
        return int(of_frame if of_frame not in (0, UNSPECIFIED) else of_container)

    return ColorTags(
        full_range=frame.color_range == full or frame.format.name.startswith("yuvj"),
        matrix=int(frame.colorspace),
        primaries=stated(frame.color_primaries, context.color_primaries),
        transfer=stated(frame.color_trc, context.color_trc),
        range_stated=bool(frame.color_range),
    )


# Side data: the structures of FFmpeg's libavutil in their memory layout.


def _side_data(frame: VideoFrame, kind: str) -> bytes:
    key = Type[kind]
    try:
        found = cast(Iterable[SideData], frame.side_data)
        return next((bytes(data) for data in found if data.type == key), b"")
    except ValueError:  # PyAV has no name for a kind of side data that this frame has, and gives none of them
        return b""


def has_captions(frame: VideoFrame) -> bool:
    """Return whether a frame carries closed captions."""
    return bool(_side_data(frame, "A53_CC"))


def _display_matrix(frame: VideoFrame) -> tuple[int, ...]:
    data = _side_data(frame, "DISPLAYMATRIX")
    return struct.unpack("=9i", data[:36]) if data else ()


_DOVI_PROFILE, _DOVI_FULL_RANGE = 4, 10
"""Places in the header of Dolby Vision's metadata. Source: libavutil/dovi_meta.h (AVDOVIRpuDataHeader)."""


def _dynamic_notes(name: str, frame: VideoFrame) -> tuple[str, ...]:
    """Return a note for each kind of metadata that tells displays how to show single scenes.

    Raises:
        InputError: The colors cannot be read without Dolby Vision's metadata. Source: the profiles of Dolby
            Vision, version 1.3, and ff_dovi_guess_profile_hevc of FFmpeg.
    """
    notes = []
    dolby_vision = _side_data(frame, "DOVI_METADATA")
    if dolby_vision:
        (first,) = struct.unpack("=Q", dolby_vision[:8])
        if dolby_vision[first + _DOVI_PROFILE] == 0 and dolby_vision[first + _DOVI_FULL_RANGE]:
            raise InputError(f"{name} is Dolby Vision of profile 5, whose colors this program cannot read")
        notes.append("Dolby Vision's metadata cannot be kept: the result has the colors for other displays")
    if _side_data(frame, "DYNAMIC_HDR_PLUS"):
        notes.append("HDR10+ cannot be kept: the result has no metadata for single scenes")
    return tuple(notes)


def _hdr(frame: VideoFrame) -> Hdr | None:
    """Return the static HDR metadata of a frame.

    Source: libavutil/mastering_display_metadata.h (AVMasteringDisplayMetadata, AVContentLightMetadata).
    """
    display = _side_data(frame, "MASTERING_DISPLAY_METADATA")
    light = _side_data(frame, "CONTENT_LIGHT_LEVEL")
    if not display and not light:
        return None
    max_content, max_average = struct.unpack("=2I", light[:8]) if light else (0, 0)
    if not display:
        return Hdr((), (), max_content, max_average)
    *numbers, has_primaries, has_luminance = struct.unpack("=22i", display[:88])
    values = [Fraction(top, bottom or 1) for top, bottom in zip(numbers[::2], numbers[1::2], strict=True)]
    return Hdr(
        tuple(zip(values[0:8:2], values[1:8:2], strict=True)) if has_primaries else (),
        tuple(values[8:10]) if has_luminance else (),
        max_content,
        max_average,
    )
