"""Stream copy: a clip's streams, except the main one, and its attachments go into the result unchanged.

There is no table of what each container supports. Instead, a file is started with each stream to find out
whether the library accepts the stream.
"""

import io
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import av
from av import VideoStream
from av.container import OutputContainer
from av.stream import AttachmentStream, Stream

from esc_cli.media.video.clip import main_stream
from esc_cli.media.video.containers import Container
from esc_cli.media.video.library import open_clip, reading_errors

_MADE_AGAIN = ("bin_data", "tmcd")
"""Data streams that the MP4 muxer makes itself: the titles of chapters, and time codes from a tag."""

_SEEN_FRAME = (64, 64)


@dataclass(frozen=True)
class Copies:
    """The streams of a source that are copied.

    Attributes:
        streams: Indices of the source's streams that the container supports, in their order.
        lost: One sentence for each stream that the container does not support.
    """

    streams: tuple[int, ...]
    lost: tuple[str, ...]


def stream_copies(source: Path, container: Container) -> Copies:
    """Find out which streams of a source can be copied to a container, without reading the streams.

    Args:
        source: The source clip.
        container: Container of the target.

    Raises:
        InputError: The source is not a clip that can be read.
    """
    file = open_clip(source, may_end_early=True)
    with closing(file), reading_errors(str(source)):
        main = main_stream(file, str(source))
        held, lost = [], []
        for stream in file.streams:
            if stream.index == main.index or _is_made_again(stream):
                continue
            if _can_hold(container, stream):
                held.append(stream.index)
            else:
                lost.append(f"the {_described(stream)} cannot be kept in {container.name}")
        return Copies(tuple(held), tuple(lost))


def add_copy(target: OutputContainer, stream: Stream) -> Stream:
    """Add a stream to a container for the unchanged packets of another stream.

    Args:
        target: The container to which the stream is added, an av.OutputContainer.
        stream: The other stream, from an av.InputContainer.

    Raises:
        ValueError: The container does not support the stream, as far as the library reports this now.
    """
    made: Stream
    if isinstance(stream, AttachmentStream):
        made = target.add_attachment(stream.name or "attachment", stream.mimetype or "", stream.data)
    elif not has_codec(stream):
        made = target.add_stream_from_template(stream)
    else:
        made = target.add_stream_from_template(stream, opaque=True)
        made.time_base = stream.time_base
    made.metadata.update(stream.metadata)
    made.disposition = stream.disposition
    return made


def has_codec(stream: Stream) -> bool:
    """Return whether the library knows the codec of a stream; its type hints say that it always does."""
    return getattr(stream, "codec_context", None) is not None


def _is_made_again(stream: Stream) -> bool:
    if stream.type != "data":
        return False
    hidden = stream.discard == av.stream.Discard.all
    return hidden or stream.name in _MADE_AGAIN or "timecode" in stream.metadata


def _can_hold(container: Container, stream: Stream) -> bool:
    """Return whether a container accepts a stream, by starting a file with the stream."""
    try:
        with av.open(io.BytesIO(), "w", format=container.ffmpeg_name) as trial:
            video = cast(VideoStream, trial.add_stream(container.trial_codec, rate=25))
            video.height, video.width = _SEEN_FRAME
            add_copy(trial, stream)
            trial.start_encoding()
    except (av.FFmpegError, ValueError):
        return False
    return True


def _described(stream: Stream) -> str:
    """Return a name such as `subtitle track 3 (subrip, eng)`, counted from 0 as in FFmpeg."""
    if stream.type == "attachment":
        return f"attachment {stream.name!r}"
    context = stream.codec_context
    codec = context.name if context is not None else getattr(stream, "name", None) or "unknown codec"
    words = [codec, stream.language if stream.language not in (None, "und") else None]
    return f"{stream.type} track {stream.index} ({', '.join(word for word in words if word)})"
