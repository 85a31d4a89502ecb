"""Packets of a video stream become frames: every one of them, the last ones too, and whole ones if wanted."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
from av import Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext

from esc_cli.errors import InputError
from esc_cli.media.video.library import reading_errors
from esc_cli.media.video.truncation import has_rest

_SHOWS_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that show the alpha which WebM carries beside; FFmpeg's own ones pass over it."""


def decoded(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    """Decode a stream from where the container stands to its end.

    What cannot be decoded before the first frame is passed over: a recording may begin between key frames.

    Raises:
        InputError: A packet is cut off or cannot be decoded.
    """
    decoder, begun, last = _decoder_of(stream), False, None
    with reading_errors(name):
        for packet in container.demux(stream):
            if packet.size:
                last = packet
            try:
                frames = decoder.decode(packet if packet.size else None)
            except av.error.InvalidDataError as error:
                if begun:
                    raise InputError(f"{name} is damaged {_where(packet)}") from error
                continue
            begun = begun or bool(frames)
            yield from frames
    if last is not None and (last.is_corrupt or has_rest(container, last)):
        raise InputError(f"{name} ends in the middle of a frame, {_where(last)}")


def _decoder_of(stream: VideoStream) -> VideoCodecContext:
    """The decoder of a stream, with its threads set; another one where alpha is carried beside."""
    context = stream.codec_context
    name = _SHOWS_ALPHA.get(context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        if not context.is_open:
            context.thread_type = "AUTO"
        return context
    decoder = cast(VideoCodecContext, av.CodecContext.create(name, "r"))
    decoder.extradata = context.extradata
    return decoder


def _where(packet: "Packet[VideoStream]") -> str:
    pts = packet.pts if packet.pts is not None else packet.dts
    return "at an unknown time" if pts is None else f"at {float(pts * packet.time_base):.2f} s"


def deinterlaced(frames: Iterable[VideoFrame], time_base: Fraction) -> Iterator[VideoFrame]:
    """Make each interlaced frame whole; those which are whole already pass.

    Args:
        frames: Decoded frames of one size and format.
        time_base: Of their stream.
    """
    graph: Graph | None = None
    for frame in frames:
        if graph is None:
            graph = _graph(frame, time_base)
        graph.push(frame)
        yield from _pulled(graph, time_base)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, time_base)


def _graph(frame: VideoFrame, time_base: Fraction) -> Graph:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=time_base
    )
    filter = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    source.link_to(filter)
    filter.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Graph, time_base: Fraction) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = cast(VideoFrame, graph.pull())
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        # The filter counts in halves of the unit; whole frames stand at whole units.
        scale = (frame.time_base or time_base) / time_base
        frame.pts, frame.duration = int((frame.pts or 0) * scale), int((frame.duration or 0) * scale)
        frame.time_base = time_base
        yield frame
