"""Decoding the packets of a video stream to frames, and deinterlacing the frames."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain, groupby
from typing import cast

import av
from av import Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext

from esc_cli.errors import DamageError
from esc_cli.media.damage import KEEP_HINT
from esc_cli.media.video.library import packets_of, reading_errors
from esc_cli.media.video.truncation import has_rest

_SHOWS_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that return the alpha that WebM stores beside the video; FFmpeg's own decoders ignore it."""


_DEINTERLACE = "mode=send_frame:parity=auto:deint=interlaced"

_LEFT_CHROMA = {"chroma_sample_location": "left"}
"""The location of chroma for decoders that do not find one in the stream; players assume the same."""

_STATE_CHROMA_LOCATION = ("yuv4mpegpipe",)
"""Containers that state the location of chroma, for codecs that do not."""


class Decoding:
    """The frames of a stream, from the current position of its container to the end.

    A frame that cannot be decoded is lost. Packets before the first frame are skipped if they cannot be
    decoded, because a recording may begin between keyframes.

    Attributes:
        lost: Timestamps of lost frames, in order; None if the file states none. They are known before any
            later frame is yielded. The reader removes those that it has dealt with.
        skipped: Number of frames that could not be decoded before the first one that could.

    Args:
        container: An open PyAV container.
        stream: The stream to decode.
        name: Name of the file in messages.
        strict: Whether a lost frame, or one that the decoder marks as damaged, is an error.
        may_end_early: Whether raw video may end within a frame, which is then lost.
    """

    def __init__(
        self,
        container: InputContainer,
        stream: VideoStream,
        name: str,
        *,
        strict: bool = False,
        may_end_early: bool = False,
    ) -> None:
        self.lost: list[int | None] = []
        self.skipped = 0
        self._container, self._stream, self._name, self._strict = container, stream, name, strict
        self._may_end_early = may_end_early
        self._begun = False
        self._awaited = _Awaited()

    def __iter__(self) -> Iterator[VideoFrame]:
        """Decode the frames; this is possible only once.

        Raises:
            DamageError: The file ends within a frame of raw video. If strict: a frame is damaged.
        """
        decoder, last = _decoder_of(self._stream), None
        with reading_errors(self._name):
            for packet in cast(Iterator["Packet[VideoStream]"], packets_of(self._container, self._stream)):
                if packet.size:
                    last = packet
                    self._awaited.add(packet)
                for frame in self._decoded(decoder, packet):
                    if self._has_arrived(frame, packet):
                        yield frame
        self.lost += self._awaited.rest()
        if last is not None and (has_rest(self._container, last) or (last.is_corrupt and self._strict)):
            if not self._may_end_early:
                hint = None if self._strict else KEEP_HINT
                raise DamageError(f"{self._name} ends in the middle of a frame, {_where(last)}", hint)
            self.lost.append(None)

    def _decoded(self, decoder: VideoCodecContext, packet: "Packet[VideoStream]") -> "Sequence[VideoFrame]":
        try:
            return decoder.decode(packet if packet.size else None)
        except av.error.InvalidDataError as error:
            if self._strict and self._begun:
                raise DamageError(f"{self._name} is damaged {_where(packet)}") from error
            if packet.pts is None:
                self.lost.append(None)
            else:
                self._awaited.fail(packet.pts)
            return ()

    def _has_arrived(self, frame: VideoFrame, packet: "Packet[VideoStream]") -> bool:
        """Take note of a frame. Return whether it is in order; a frame that is not was given up before."""
        if self._strict and frame.is_corrupt:
            raise DamageError(f"{self._name} is damaged {_where(packet)}")
        if self._awaited.is_too_late(frame):
            return False
        self.lost += self._awaited.arrived(frame)
        if not self._begun:
            self.skipped, self._begun = len(self.lost), True
            self.lost.clear()
        return True


class _Awaited:
    """The timestamps of packets whose frames have not come out of the decoder.

    After damage, a decoder may drop frames without an error, such as those that depend on a lost keyframe. So
    until the next keyframe, each timestamp that is passed over is that of a lost frame. Without damage,
    timestamps are passed over if a packet has no frame of its own, such as the second field of a frame. In
    such a stream, only the packets that cannot be decoded are counted.
    """

    def __init__(self) -> None:
        self._times: list[int] = []
        self._failed: set[int] = set()
        self._lost: set[int] = set()
        self._damaged_pts: int | None = None
        self._last_pts: int | None = None
        self._one_each = True

    def add(self, packet: "Packet[VideoStream]") -> None:
        if packet.pts is None or packet.is_discard or not self._is_ahead(packet.pts):
            return
        insort(self._times, packet.pts)
        if packet.is_corrupt:
            self._damaged_pts = packet.pts

    def fail(self, pts: int) -> None:
        self._failed.add(pts)
        self._damaged_pts = pts

    def is_too_late(self, frame: VideoFrame) -> bool:
        """Return whether a frame comes after later ones, as it happens behind damage.

        In joined recordings, timestamps begin again, which is not the same.
        """
        if self._damaged_pts is None or frame.pts is None or self._is_ahead(frame.pts):
            return False
        return frame.pts in self._lost or frame.pts > self._damaged_pts

    def arrived(self, frame: VideoFrame) -> list[int | None]:
        """Return the timestamps of lost frames before a frame that has come out of the decoder."""
        if frame.pts is None:
            return []
        count = bisect_left(self._times, frame.pts)
        passed, self._times = self._times[:count], self._times[count:]
        if self._times[:1] == [frame.pts]:
            del self._times[0]
        lost = self._lost_of(passed)
        if self._damaged_pts is None:
            self._one_each = self._one_each and (not passed or self._last_pts is None)
        elif frame.key_frame and (frame.pts > self._damaged_pts or not self._is_ahead(frame.pts)):
            self._damaged_pts = None
            self._lost.clear()
        self._last_pts = frame.pts
        return lost

    def rest(self) -> list[int | None]:
        """Return the timestamps of lost frames after the last frame."""
        return self._lost_of(self._times)

    def _is_ahead(self, pts: int) -> bool:
        return self._last_pts is None or pts > self._last_pts

    def _lost_of(self, times: list[int]) -> list[int | None]:
        all_of_them = self._one_each and self._damaged_pts is not None
        lost = [pts for pts in times if all_of_them or pts in self._failed]
        self._lost.update(lost)
        return list(lost)


def decoded(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    """Decode a stream from the current position of the container to the end; see ``Decoding``."""
    return iter(Decoding(container, stream, name))


def _decoder_of(stream: VideoStream) -> VideoCodecContext:
    """Return the decoder of a stream; a stream with separate alpha gets another one.

    It has one thread. With more, what a decoder makes of damage depends on their number, and PyAV drops the
    frames that follow an error at the end of the file. One thread decodes 116 frames of 1080p per second.
    """
    context = stream.codec_context
    if not context.is_open and stream.container.format.name not in _STATE_CHROMA_LOCATION:
        context.options = _LEFT_CHROMA
    name = _SHOWS_ALPHA.get(context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        if not context.is_open:
            context.thread_count = 1
        return context
    decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.extradata, decoder.options = context.extradata, _LEFT_CHROMA
    return decoder


def _where(packet: "Packet[VideoStream]") -> str:
    pts = packet.pts if packet.pts is not None else packet.dts
    return "at an unknown time" if pts is None else f"at {float(pts * packet.time_base):.2f} s"


def deinterlaced(frames: Iterable[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """Deinterlace each interlaced frame; progressive frames pass unchanged.

    Args:
        frames: Decoded frames, which may change their size and format.
        time_base: Time base of their stream.
    """
    for _, alike in groupby(frames, lambda frame: (frame.width, frame.height, frame.format.name)):
        first = next(alike)
        graph = filter_graph(first, time_base, "bwdif", _DEINTERLACE)
        for frame in chain((first,), alike):
            graph.push(frame)
            yield from _pulled(graph, time_base)
        graph.push(None)
        yield from _pulled(graph, time_base)


def filter_graph(frame: VideoFrame, time_base: Fraction, filter: str, options: str) -> Graph:
    """Return a graph with one of FFmpeg's filters, for frames like the given one.

    Args:
        frame: A frame of the size and the format that the graph takes.
        time_base: Unit of the frames' timestamps.
        filter: FFmpeg's name of the filter.
        options: Options of the filter, as FFmpeg takes them.
    """
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=time_base
    )
    filtered = graph.add(filter, options)
    source.link_to(filtered)
    filtered.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Graph, time_base: Fraction) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = cast(VideoFrame, graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        # The filter's time base is half the stream's, and its frames stand at whole units of the stream's.
        scale = (frame.time_base or time_base) / time_base
        frame.pts, frame.duration = int((frame.pts or 0) * scale), int((frame.duration or 0) * scale)
        frame.time_base = time_base
        yield frame
