"""Interlaced frames become whole ones, by FFmpeg's bwdif: one frame for each frame."""

from collections.abc import Iterable, Iterator
from typing import Any

import av


def deinterlaced(frames: Iterable[Any], time_base: Any) -> Iterator[Any]:
    """Make each interlaced frame whole; those which are whole already pass.

    Args:
        frames: Decoded frames of one size and format.
        time_base: Of their stream.
    """
    graph: Any = None
    for frame in frames:
        if graph is None:
            graph = _graph(frame, time_base)
        graph.push(frame)
        yield from _pulled(graph, time_base)
    if graph is not None:
        graph.push(None)
        yield from _pulled(graph, time_base)


def _graph(frame: Any, time_base: Any) -> Any:
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=time_base
    )
    filter = graph.add("bwdif", "mode=send_frame:parity=auto:deint=interlaced")
    source.link_to(filter)
    filter.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _pulled(graph: Any, time_base: Any) -> Iterator[Any]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        # The filter counts in halves of the unit; whole frames stand at whole units.
        scale = frame.time_base / time_base
        frame.pts, frame.duration = int(frame.pts * scale), int(frame.duration * scale)
        frame.time_base = time_base
        yield frame
