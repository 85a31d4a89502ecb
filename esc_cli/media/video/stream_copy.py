"""Stream copy: a clip's streams, except the main one, and its attachments go into the result unchanged.

There is no table of what each container supports. Instead, a file is started with each stream to find out
whether the library accepts the stream. Sound that it does not accept is converted.
"""

import io
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import av
from av import AudioStream, VideoStream
from av.container import InputContainer, OutputContainer
from av.stream import AttachmentStream, Stream

from esc_cli.media.video.clip import main_stream
from esc_cli.media.video.containers import Container, SoundChoice
from esc_cli.media.video.library import (
    TAG_ERRORS,
    first_packets,
    name_of,
    open_with_sound,
    reading_errors,
)
from esc_cli.media.video.sound import Conversion, conversion_of

_MADE_AGAIN = ("bin_data", "tmcd")
"""Data streams of MP4 and MOV that their muxer makes itself: titles of chapters, and time codes."""

_COVER_TYPES = {"mjpeg": "jpeg"}
"""Media types of pictures whose codec has another name."""

_SEEN_FRAME = (64, 64)


@dataclass(frozen=True)
class Copies:
    """What happens to the streams of a source.

    Attributes:
        streams: Indices of the source's streams that are copied, in their order.
        lost: One sentence for each stream that is lost.
        covers: Pictures that are attached as files, by the stream's index.
        conversions: How sound is converted that cannot be copied, by the stream's index.
        notes: One sentence for each stream that is lost or converted.
    """

    streams: tuple[int, ...]
    lost: tuple[str, ...]
    covers: Mapping[int, bytes] = field(default_factory=dict)
    conversions: Mapping[int, Conversion] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def stream_copies(source: Path, container: Container, sound: SoundChoice = "auto") -> Copies:
    """Find out which streams of a source can be copied to a container, and how the other sound is converted.

    Args:
        source: The source clip.
        container: Container of the target.
        sound: What happens to sound.

    Raises:
        InputError: The source is not a clip that can be read.
    """
    file = open_with_sound(source)
    with closing(file), reading_errors(name_of(source)):
        main = main_stream(file, name_of(source))
        held, lost, covers, conversions, converted = [], [], {}, {}, []
        for stream in file.streams:
            if stream.index == main.index or _is_made_again(stream):
                continue
            if stream.type == "audio" and sound == "none":
                continue
            if is_cover(stream) and container.cover == "attachment":
                covers[stream.index] = _content(source, stream)
            elif _can_hold(container, stream, source):
                held.append(stream.index)
            elif sound == "auto" and (way := _conversion(source, stream, container)) is not None:
                conversions[stream.index] = way
                converted.append(f"the {_described(stream)} is converted to {way.described}")
            else:
                lost.append(f"the {_described(stream)} cannot be kept in {container.name}")
        return Copies(tuple(held), tuple(lost), covers, conversions, (*converted, *lost))


def _conversion(source: Path, stream: Stream, container: Container) -> Conversion | None:
    if stream.type != "audio" or not has_codec(stream):
        return None
    return conversion_of(source, cast(AudioStream, stream), container)


def _content(source: Path, stream: Stream) -> bytes:
    """Return the file of a cover, which is the only packet of its stream."""
    return next((bytes(packet) for packet in first_packets(source, stream.index) if packet.size), b"")


def is_cover(stream: Stream) -> bool:
    """Return whether a stream is a picture of the film, such as an album cover."""
    return stream.type == "video" and bool(stream.disposition & av.stream.Disposition.attached_pic)


def add_cover(target: OutputContainer, stream: Stream, content: bytes) -> None:
    """Attach a cover to a container as a file. Source: Matroska's guidelines (cover art)."""
    codec = stream.codec_context.name if has_codec(stream) else ""
    kind = _COVER_TYPES.get(codec, codec)
    name = stream.metadata.get("filename", f"cover.{kind.replace('jpeg', 'jpg')}")
    made = target.add_attachment(name, stream.metadata.get("mimetype", f"image/{kind}"), content)
    made.metadata.update({k: v for k, v in stream.metadata.items() if k not in ("filename", "mimetype")})


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
        if made.codec_context.name in ("dvdsub", "dvd_subtitle"):
            _state_size(made, stream)
    made.metadata.update(_tags(stream))
    made.disposition = stream.disposition
    return made


def _state_size(made: Stream, stream: Stream) -> None:
    """State the size of the film for which pictures of subtitles were drawn, so that players enlarge them.

    Without it, players assume the size of the film that they show. Source: the format of VobSub's .idx files.
    """
    film = main_stream(cast(InputContainer, stream.container), "").codec_context
    known = made.codec_context.extradata or b""
    if b"size:" not in known:
        made.codec_context.extradata = b"size: %dx%d\n" % (film.width, film.height) + known


def add_conversion(target: OutputContainer, stream: AudioStream, conversion: Conversion) -> AudioStream:
    """Add a stream to a container for the converted sound of another stream, with its tags."""
    made = conversion.add_to(target)
    made.metadata.update({k: v for k, v in _tags(stream).items() if not _is_about_encoding(k)})
    made.disposition = stream.disposition
    return made


def _tags(stream: Stream) -> dict[str, str]:
    """Return a stream's tags. The title in MP4 and MOV is read as `name`, but is written from `title`."""
    tags = dict(stream.metadata)
    return {"title": tags["name"]} | tags if "name" in tags else tags


def _is_about_encoding(tag: str) -> bool:
    """Return whether a tag describes the encoded sound. Source: the statistics tags of mkvmerge."""
    return tag.upper().startswith(("ENCODER", "DURATION", "BPS", "NUMBER_OF_", "_STATISTICS"))


def has_codec(stream: Stream) -> bool:
    """Return whether the library knows the codec of a stream; its type hints say that it always does."""
    return getattr(stream, "codec_context", None) is not None


def _is_made_again(stream: Stream) -> bool:
    if stream.type != "data":
        return False
    hidden = stream.discard == av.stream.Discard.all
    known = stream.name in _MADE_AGAIN and "mp4" in stream.container.format.name.split(",")
    return hidden or known or "timecode" in stream.metadata


def _can_hold(container: Container, stream: Stream, source: Path) -> bool:
    """Return whether a container accepts a stream, by starting a file with the stream.

    Some muxers refuse the packets of sound that they accept at first, such as several frames of AMR in one.
    """
    if is_cover(stream) and container.cover is None:
        return False
    try:
        with av.open(io.BytesIO(), "w", format=container.ffmpeg_name, metadata_errors=TAG_ERRORS) as trial:
            video = cast(VideoStream, trial.add_stream(container.trial_codec, rate=25))
            video.height, video.width = _SEEN_FRAME
            made = add_copy(trial, stream)
            trial.start_encoding()
            if stream.type == "audio":
                _mux_a_packet(trial, made, stream, source)
    except (av.FFmpegError, ValueError):
        return False
    return True


def _mux_a_packet(trial: OutputContainer, made: Stream, stream: Stream, source: Path) -> None:
    packet = next(first_packets(source, stream.index), None)
    if packet is not None and packet.size:
        packet.stream, packet.pts, packet.dts = made, 0, 0
        trial.mux(packet)


def _described(stream: Stream) -> str:
    """Return a name such as `subtitle track 3 (subrip, eng)`, counted from 0 as in FFmpeg."""
    if stream.type == "attachment":
        return f"attachment {stream.name!r}"
    if is_cover(stream):
        return f"cover {stream.metadata.get('filename', stream.index)!r}"
    context = stream.codec_context
    codec = context.name if context is not None else getattr(stream, "name", None) or "unknown codec"
    words = [codec, stream.language if stream.language not in (None, "und") else None]
    return f"{stream.type} track {stream.index} ({', '.join(word for word in words if word)})"
