"""Conversion of sound that the container of the result cannot hold as it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import cast

import av
from av import AudioFrame, AudioResampler, AudioStream, Packet
from av.audio.codeccontext import AudioCodecContext
from av.codec.codec import Properties
from av.container import OutputContainer
from av.stream import Stream

from esc_cli.media.video.containers import Container, SoundEncoder
from esc_cli.media.video.library import first_packets

_USUAL_RATE_HZ = 48_000
_LEAST_BIT_RATE = 24_000

_PACKETS_TO_FIRST_FRAME = 500
"""How many packets of a track are read at most to find out what it contains."""

_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""The layout of a number of channels that the source does not name. Source: av_channel_layout_default."""

_STEADY = {"async": "1", "min_hard_comp": "0.005"}
"""Gaps of more than 5 ms are filled with silence, overlaps are cut, and smaller jitter is left alone.

Containers round timestamps to a millisecond. Source: FFmpeg's manual of the resampler.
"""


@dataclass(frozen=True)
class Conversion:
    """How one track of sound is converted.

    Attributes:
        encoder: The encoder.
        rate_hz: Sample rate of the result.
        layout: Channel layout of the result, that of the source.
        sample_format: FFmpeg's name of the encoder's sample format.
        bit_rate: Bits per second; 0 if the encoder has no such setting.
        losses: Losses of quality, such as a lower sample rate, as continuations of a sentence.
    """

    encoder: SoundEncoder
    rate_hz: int
    layout: str
    sample_format: str
    bit_rate: int
    losses: tuple[str, ...] = ()

    @property
    def described(self) -> str:
        """The name of the format, and the losses of quality."""
        return "".join((self.encoder.name, *self.losses))

    def add_to(self, target: OutputContainer) -> AudioStream:
        """Add a stream for the converted sound to a container.

        Raises:
            ValueError: The container does not support the encoder's format.
        """
        stream = cast(AudioStream, target.add_stream(self.encoder.ffmpeg_name, rate=self.rate_hz))
        self._configure(stream.codec_context)
        return stream

    def works(self) -> bool:
        """Return whether the encoder takes this rate and layout."""
        context = cast(AudioCodecContext, av.CodecContext.create(self.encoder.ffmpeg_name, "w"))
        try:
            self._configure(context)
            context.open()
        except (av.FFmpegError, ValueError):
            return False
        return True

    def _configure(self, context: AudioCodecContext) -> None:
        context.sample_rate = self.rate_hz
        context.layout = self.layout
        context.format = self.sample_format
        if self.bit_rate:
            context.bit_rate = self.bit_rate


def conversion_of(source: Path, stream: AudioStream, container: Container) -> Conversion | None:
    """Choose how to convert a track, from its first frame; None if it cannot be decoded or encoded.

    Lossless sound is converted to a lossless format, if the container has one.

    Args:
        source: The clip, which is opened again and read up to the track's first frame.
        stream: The track.
        container: Container of the target.
    """
    frame = _first_frame(source, stream)
    if frame is None:
        return None
    codec = stream.codec_context.codec
    lossless = Properties.LOSSLESS in Properties(codec.properties)
    encoders = sorted(container.sound, key=lambda encoder: encoder.lossless != lossless)
    ways = (_conversion(encoder, frame, layout) for encoder in encoders for layout in _layouts(frame))
    way = next((way for way in ways if way.works()), None)
    return way and replace(way, losses=tuple(_losses(way, frame, codec.name, lossless=lossless)))


_LOSSLESS_BITS = 24
"""Most bits that the lossless encoders keep. Source: FFmpeg, libavcodec/flacenc.c and alacenc.c."""

_PCM_BITS = re.compile(r"pcm_[suf](\d+)")


def _losses(way: Conversion, frame: AudioFrame, codec: str, *, lossless: bool) -> Iterator[str]:
    floating = frame.format.name.startswith(("flt", "dbl"))
    pcm = _PCM_BITS.match(codec)
    bits = int(pcm[1]) if pcm else 8 * frame.format.bytes if floating else 0
    if way.encoder.lossless and lossless and bits > _LOSSLESS_BITS:
        yield f", and its {'floats' if floating else 'values'} of {bits} bits become {_LOSSLESS_BITS} bits"
    if lossless and not way.encoder.lossless:
        yield ", which is lossy"
    if way.rate_hz < frame.sample_rate:
        yield f", and its {frame.sample_rate} Hz become {way.rate_hz} Hz"


def _first_frame(source: Path, stream: AudioStream) -> AudioFrame | None:
    packets = cast(Iterator["Packet[AudioStream]"], first_packets(source, stream.index))
    try:
        for packet in islice(packets, _PACKETS_TO_FIRST_FRAME):
            if frames := _decoded(packet.stream, packet if packet.size else None):
                return frames[0]
    except av.FFmpegError:
        return None
    return None


def _decoded(stream: AudioStream, packet: "Packet[AudioStream] | None") -> list[AudioFrame]:
    try:
        return stream.decode(packet)
    except av.error.InvalidDataError:
        return []  # one damaged packet becomes silence


def _layouts(frame: AudioFrame) -> tuple[str, ...]:
    """Return names of a frame's layout; some encoders know only one of two names of the same loudspeakers."""
    layout = frame.layout
    if layout.name.endswith(" channels"):
        layout = av.AudioLayout(_LAYOUTS.get(layout.nb_channels, layout.name))
    return tuple(dict.fromkeys((layout.name, layout.name.replace("(side)", ""))))


def _conversion(encoder: SoundEncoder, frame: AudioFrame, layout: str) -> Conversion:
    codec = av.Codec(encoder.ffmpeg_name, "w")
    rates = sorted(codec.audio_rates or (frame.sample_rate,))
    rate = next((rate for rate in rates if rate >= frame.sample_rate), min(rates[-1], _USUAL_RATE_HZ))
    width = frame.format.bytes
    formats = sorted(codec.audio_formats or (), key=lambda format: abs(format.bytes - width))
    bit_rate = max(_LEAST_BIT_RATE, encoder.channel_bit_rate * min(rate, _USUAL_RATE_HZ) // _USUAL_RATE_HZ)
    return Conversion(
        encoder,
        rate,
        layout,
        formats[0].name,
        bit_rate * frame.layout.nb_channels if encoder.channel_bit_rate else 0,
    )


class SoundConverter:
    """Converts the packets of one track, in step with their timestamps.

    Args:
        conversion: What the track becomes.
        source: The track.
        target: The stream of the result, from ``Conversion.add_to``.
    """

    def __init__(self, conversion: Conversion, source: AudioStream, target: AudioStream) -> None:
        self._conversion, self._source, self._target = conversion, source, target
        self._resampler: AudioResampler | None = None
        self._kind: tuple[str, str, int] | None = None
        self._next_s = Fraction(0)

    def frames(self, packet: "Packet[AudioStream] | None") -> Iterator[AudioFrame]:
        """Decode a packet and yield frames of the encoder's rate and layout; None yields the last ones."""
        for frame in _decoded(self._source, packet):
            self._time(frame)
            kind = (frame.format.name, frame.layout.name, frame.sample_rate)
            if kind != self._kind:
                yield from self._flushed()
                self._kind, self._resampler = kind, self._new_resampler()
            yield from cast(AudioResampler, self._resampler).resample(frame)
        if packet is None:
            yield from self._flushed()

    def encoded(self, frame: AudioFrame | None) -> "list[Packet[Stream]]":
        """Return the packets that are ready after a frame; None returns the last ones."""
        return cast("list[Packet[Stream]]", self._target.encode(frame))

    def _time(self, frame: AudioFrame) -> None:
        """Give a frame without a timestamp the end of the previous frame."""
        unit = Fraction(1, frame.sample_rate)
        if frame.pts is None or frame.time_base is None:
            frame.pts, frame.time_base = round(self._next_s / unit), unit
        self._next_s = frame.pts * frame.time_base + frame.samples * unit

    def _new_resampler(self) -> AudioResampler:
        way = self._conversion
        return AudioResampler(
            way.sample_format, way.layout, way.rate_hz, frame_size=way.rate_hz // 100, options=_STEADY
        )

    def _flushed(self) -> Iterator[AudioFrame]:
        if self._resampler is not None:
            yield from self._resampler.resample(None)
            self._resampler = None
