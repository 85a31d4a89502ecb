"""Writing frames: segments that contain only the video stream, and raw streams for pipes.

A segment is a Matroska file whose timestamps are units of the clip's time_base, stored as milliseconds.
Matroska supports every codec with all its extra data, such as the alpha of VP9, but has only milliseconds.
NUT has other units, but chooses them itself, and supports neither the alpha of VP9 nor ProRes.
"""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Self, cast

import av
import torch
from av import Packet, VideoStream
from av.video.codeccontext import VideoCodecContext

from esc_cli.media.video.clip import Clip, ColorTags, Hdr
from esc_cli.media.video.containers import MATROSKA, YUV4MPEG2, Container, container_like
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.frame import Frame
from esc_cli.media.video.library import name_of, open_target, writing_errors
from esc_cli.media.video.pixels import encoded_size, to_frame, written_tags
from esc_cli.media.video.settings import check_settings, encoders_clock

SEGMENT_TIME_BASE = Fraction(1, 1000)
"""The time base of a segment; one unit of it stands for one unit of the clip's time_base."""

FIRST_PTS = "FIRST_PTS"
"""The tag with the origin of a segment's timestamps, because Matroska has no negative timestamps."""

_SAFE_WIDTH_PX = 64
"""Below this width, x265's coding unit tree corrupts the heap: PyAV 18.1 aborts at widths of 34 to 48."""

_MOST_REORDERED_FRAMES = 16
"""The maximum reordering of packets. A packet's number minus this value is never later than its timestamp.

Matroska stores no decoding times, but refuses decoding times that are later than the display times. x265
leaves decoding times uninitialized if a stream has fewer frames than its lookahead for B-frames: one of 20
streams of two frames was refused. Therefore decoding times are set from the packet's number.
Source: ITU-T H.264 and H.265, A.4 (max_dec_frame_buffering, sps_max_num_reorder_pics).
"""

_WITH_DURATIONS = int(av.codec.context.Flags.frame_duration)
_PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}


class _Writer:
    """A context manager for an encoder and the container that it writes to."""

    def __init__(
        self,
        target: Path | BinaryIO,
        container: Container,
        clip: Clip,
        height: int,
        width: int,
        settings: EncodeSettings,
        container_options: dict[str, str],
    ) -> None:
        self._target, self._clip = name_of(target), clip
        self._format = settings.pixel_format or "yuv420p"
        encoder = settings.codec or ""
        self._tags = written_tags(clip.color, clip.height, height, self._format, encoder)
        self._container = open_target(target, container.ffmpeg_name, container_options)
        with writing_errors(self._target):
            self._time_base, rate = encoders_clock(encoder, clip)
            self._stream = cast(VideoStream, self._container.add_stream(encoder, rate=rate))
            context = self._stream.codec_context
            _configure(context, clip, (height, width), self._format, self._tags)
            context.time_base, context.framerate = self._time_base, rate
            # libx265 does not write closed captions by default
            captions = {"a53cc": "1"} if clip.captions and settings.codec == "libx265" else {}
            options = _options(clip.hdr, settings, width) | _location_of_chroma(self._format)
            self._stream.codec_context.options = captions | options

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, frame: Frame) -> None:
        """Encode a frame.

        Args:
            frame: A frame of the writer's size, with a later timestamp than the previous frame.

        Raises:
            OutputError: The frame cannot be written.
            DiskFullError: There is no space left.
        """
        image = to_frame(frame.color, frame.alpha, self._format, self._tags, frame.captions)
        image.pts, image.duration = self._encoders_time(frame)
        image.time_base = self._time_base
        with writing_errors(self._target):
            self._mux(self._stream.encode(image))

    def _encoders_time(self, frame: Frame) -> tuple[int, int]:
        """Return the timestamp and the duration that the encoder gets for a frame."""
        return frame.pts, frame.duration or 0

    def close(self) -> None:
        """Flush the encoder and complete the file.

        Raises:
            OutputError: The file cannot be written.
            DiskFullError: There is no space left.
        """
        with writing_errors(self._target):
            self._mux(self._stream.encode(None))
            self._container.close()

    def _abandon(self) -> None:
        """Close the file and leave it incomplete, because it is not needed after an error."""
        try:
            self._container.close()
        except (av.FFmpegError, OSError):
            return  # the disk is full: there is nothing to complete

    def _mux(self, packets: list["Packet[VideoStream]"]) -> None:
        self._container.mux(packets)


class SegmentWriter(_Writer):
    """A context manager that encodes a closed part of a clip to a file with only the video stream.

    The same frames give the same bytes on the same machine, so a resumed run gives the same result as an
    uninterrupted one.

    Args:
        path: The file to write.
        clip: The source clip, whose time base, colors, aspect ratio and HDR metadata are kept.
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.
        settings: Encoder settings, preferably from ``check_settings``. Incomplete settings are completed for
            the clip's own container.

    Raises:
        UsageError: The encoder does not take the settings.
        OutputError: The file cannot be written.
    """

    def __init__(self, path: Path, clip: Clip, height: int, width: int, settings: EncodeSettings) -> None:
        if settings.codec is None or settings.pixel_format is None:
            settings = check_settings(clip, container_like(clip.container), settings)
        self._first_pts: int | None = None
        self._packets = 0
        self._durations: dict[int, int] = {}
        self._times: list[int] = []
        self._usual_duration = clip.usual_duration
        super().__init__(path, MATROSKA, clip, height, width, settings, {"fflags": "+bitexact"})

    def write(self, frame: Frame) -> None:
        """Encode a frame, and store the timestamp of the first frame; see ``_Writer.write``."""
        if self._first_pts is None:
            self._first_pts = frame.pts
            self._container.metadata[FIRST_PTS] = str(frame.pts)
        self._durations[frame.pts] = frame.duration or self._usual_duration
        super().write(frame)

    def _encoders_time(self, frame: Frame) -> tuple[int, int]:
        """Count the frames for an encoder that does not take the clip's time base."""
        if self._time_base == self._clip.time_base:
            return super()._encoders_time(frame)
        self._times.append(frame.pts)
        return len(self._times) - 1, 1

    def _mux(self, packets: list["Packet[VideoStream]"]) -> None:
        for packet in packets:
            if self._times and packet.pts is not None:
                packet.pts = self._times[packet.pts]
            # Some encoders leave out durations. Readers of Matroska then take 1 / frame rate, in seconds.
            packet.duration = self._durations.pop(packet.pts or 0, self._usual_duration)
            packet.pts = (packet.pts or 0) - (self._first_pts or 0)
            packet.dts = self._packets - _MOST_REORDERED_FRAMES
            packet.time_base = SEGMENT_TIME_BASE
            self._packets += 1
        super()._mux(packets)


class StreamWriter(_Writer):
    """A context manager that writes raw frames as YUV4MPEG2. The file stays open.

    YUV4MPEG2 has no timestamps: the frames follow each other at the clip's mean frame rate.

    Args:
        file: A binary file to write to, such as stdout; it need not be seekable.
        clip: The source clip, whose frame rate, colors and aspect ratio are kept.
        height: Height of the frames, in pixels.
        width: Width of the frames, in pixels.
        settings: Encoder settings. Only the pixel format is used: planar YUV or gray of 8, 10 or 12 bits.

    Raises:
        UsageError: YUV4MPEG2 does not support the pixel format.
        OutputError: The file cannot be written.
    """

    def __init__(
        self, file: BinaryIO, clip: Clip, height: int, width: int, settings: EncodeSettings | None = None
    ) -> None:
        complete = check_settings(clip, YUV4MPEG2, settings or EncodeSettings())
        # FFmpeg calls the markers of more than 8 bits unofficial, because MPlayer introduced them, but all
        # programs read them. FFmpeg's header states the time base as the frame rate.
        steady = replace(clip, time_base=1 / clip.rate)
        self._frames = 0
        super().__init__(file, YUV4MPEG2, steady, height, width, complete, {"strict": "-1"})

    def write(self, frame: Frame) -> None:
        """Write a frame after the previous one, whatever its timestamp is; see ``_Writer.write``."""
        super().write(replace(frame, pts=self._frames, duration=1))
        self._frames += 1


def _configure(
    context: VideoCodecContext, clip: Clip, size: tuple[int, int], pixel_format: str, tags: ColorTags
) -> None:
    context.height, context.width = encoded_size(*size, pixel_format)
    context.pix_fmt = pixel_format
    context.flags |= _WITH_DURATIONS
    # By default, PyAV requests threads within a frame, for which x264 would split each frame into slices.
    context.thread_type = "FRAME"
    context.sample_aspect_ratio = clip.sample_aspect_ratio or Fraction(0)
    context.color_range = (2 if tags.full_range else 1) if tags.range_stated else 0
    context.colorspace = tags.matrix
    context.color_primaries = tags.primaries
    context.color_trc = tags.transfer


def _options(hdr: Hdr | None, settings: EncodeSettings, width: int) -> dict[str, str]:
    """Return the encoder's options, with static HDR metadata for those encoders that take it."""
    options, codec = dict(settings.options), settings.codec or ""
    name = _PARAMETERS.get(codec)
    if name is None:
        return options
    parameters = ["asm=avx2"] if codec == "libx264" and _has_avx512() else []
    parameters += [options[name]] if name in options else []
    parameters += _hdr_parameters(hdr, codec) if hdr is not None else []
    parameters += ["cutree=0"] if codec == "libx265" and width < _SAFE_WIDTH_PX else []
    return options | ({name: ":".join(parameters)} if parameters else {})


def _location_of_chroma(pixel_format: str) -> dict[str, str]:
    """Return the option that states where ``to_frame`` puts the chroma of 4:2:0; others have no choice."""
    return {"chroma_sample_location": "left"} if encoded_size(1, 1, pixel_format) == (2, 2) else {}


def _has_avx512() -> bool:
    """Return whether x264 would use AVX-512, with which equal frames do not always give equal bytes.

    One of 20 files of 12 frames differed at 960x540 and at 480x270, and ten differed at 320x64. Without
    AVX-512, no file differed.
    """
    return torch.backends.cpu.get_cpu_capability() == "AVX512"


def _hdr_parameters(hdr: Hdr, codec: str) -> list[str]:
    """Return static HDR metadata as parameters of an encoder.

    Source: the options --master-display and --max-cll of x265, and those of x264 and SVT-AV1.
    """
    names = {
        "libx264": ("mastering-display", "cll"),
        "libx265": ("master-display", "max-cll"),
        "libsvtav1": ("mastering-display", "content-light"),
    }
    display, light = names[codec]
    parameters = []
    if hdr.primaries and hdr.luminance:
        parameters.append(f"{display}={_display(hdr, codec == 'libsvtav1')}")
    if hdr.max_content or hdr.max_average:
        parameters.append(f"{light}={hdr.max_content},{hdr.max_average}")
    return parameters


def _display(hdr: Hdr, plain: bool) -> str:
    """Return the primaries in the order green, blue, red, then the white point and the luminance.

    The values are in steps of 1/50000 and 1/10000 cd/m², or plain numbers.
    """
    red, green, blue, white = hdr.primaries
    least, greatest = hdr.luminance

    def pair(letters: str, values: tuple[Fraction, Fraction], steps: int) -> str:
        numbers = (f"{float(value):.4f}" if plain else str(round(value * steps)) for value in values)
        return f"{letters}({','.join(numbers)})"

    points = (("G", green), ("B", blue), ("R", red), ("WP", white))
    return "".join(pair(*point, 50_000) for point in points) + pair("L", (greatest, least), 10_000)
