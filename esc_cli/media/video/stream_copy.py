"""What of a clip's file goes into the result as it is: every stream but the main one, and attachments.

What a container can hold is in no table here: the library is asked, by beginning a file with each stream.
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
"""Data streams that the muxer of MP4 makes by itself: the titles of chapters, and time codes from a tag."""

_SEEN_FRAME = (64, 64)


@dataclass(frozen=True)
class Copies:
    """What of a source is copied.

    Attributes:
        streams: Indices of the source's streams that the container can hold, in their order.
        lost: A sentence for each thing that it cannot hold.
    """

    streams: tuple[int, ...]
    lost: tuple[str, ...]


def stream_copies(source: Path, container: Container) -> Copies:
    """Find out which streams of a source can be copied to a container; they are not read.

    Args:
        source: The clip.
        container: Of the target.

    Raises:
        InputError: The source is no clip that can be read.
    """
    file = open_clip(source)
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
    """Add a stream to a container which is to hold the packets of another as they are.

    Args:
        target: An av.OutputContainer.
        stream: Of an av.InputContainer.

    Raises:
        ValueError: The container cannot hold it, as far as the library says it now.
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
    """Tell whether the library knows the codec of a stream; its types say that it always does."""
    return getattr(stream, "codec_context", None) is not None


def _is_made_again(stream: Stream) -> bool:
    if stream.type != "data":
        return False
    hidden = stream.discard == av.stream.Discard.all
    return hidden or stream.name in _MADE_AGAIN or "timecode" in stream.metadata


def _can_hold(container: Container, stream: Stream) -> bool:
    """Begin a file with the stream and see whether the container takes it."""
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
    """`subtitle track 3 (subrip, eng)`, counted from 0 as FFmpeg does."""
    if stream.type == "attachment":
        return f"attachment {stream.name!r}"
    context = stream.codec_context
    codec = context.name if context is not None else getattr(stream, "name", None) or "unknown codec"
    words = [codec, stream.language if stream.language not in (None, "und") else None]
    return f"{stream.type} track {stream.index} ({', '.join(word for word in words if word)})"
