"""Decoding the packets of a video stream to frames, and deinterlacing the frames."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
from av import Packet, VideoFrame, VideoStream
from av.container import InputContainer
from av.filter import Graph
from av.video.codeccontext import VideoCodecContext

from esc_cli.errors import InputError
from esc_cli.media.video.library import packets_of, reading_errors
from esc_cli.media.video.truncation import has_rest

_SHOWS_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that return the alpha that WebM stores beside the video; FFmpeg's own decoders ignore it."""


_LEFT_CHROMA = {"chroma_sample_location": "left"}
"""The location of chroma for decoders that do not find one in the stream; players assume the same."""

_STATE_CHROMA_LOCATION = ("yuv4mpegpipe",)
"""Containers that state the location of chroma, for codecs that do not."""


def decoded(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    """Decode a stream from the current position of the container to the end, including the last frames.

    Packets before the first frame are skipped if they cannot be decoded, because a recording may begin
    between keyframes.

    Raises:
        InputError: A packet is cut off or cannot be decoded.
    """
    decoder, begun, last = _decoder_of(stream), False, None
    with reading_errors(name):
        for packet in cast(Iterator["Packet[VideoStream]"], packets_of(container, stream)):
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
    """Return the decoder of a stream, with threads enabled; a stream with separate alpha gets another one."""
    context = stream.codec_context
    if not context.is_open and stream.container.format.name not in _STATE_CHROMA_LOCATION:
        context.options = _LEFT_CHROMA
    name = _SHOWS_ALPHA.get(context.codec.canonical_name)
    if name is None or stream.metadata.get("alpha_mode", stream.metadata.get("ALPHA_MODE")) != "1":
        if not context.is_open:
            context.thread_type = "AUTO"
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
        frames: Decoded frames of one size and format.
        time_base: Time base of their stream.
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
        # The filter's time base is half the stream's, and its frames stand at whole units of the stream's.
        scale = (frame.time_base or time_base) / time_base
        frame.pts, frame.duration = int((frame.pts or 0) * scale), int((frame.duration or 0) * scale)
        frame.time_base = time_base
        yield frame
