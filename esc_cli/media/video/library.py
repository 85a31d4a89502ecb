"""Opening clips with PyAV, and translating PyAV's errors to this program's errors."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import av
from av import Packet
from av.container import InputContainer, OutputContainer
from av.stream import Stream

from esc_cli.errors import DamageError, DiskFullError, InputError, OutOfMemoryError, OutputError
from esc_cli.media.damage import KEEP_HINT
from esc_cli.media.video.containers import STDIN_COPY, looks_like_clip
from esc_cli.media.video.encryption import is_encrypted
from esc_cli.media.video.truncation import Counted, ends_early
from esc_cli.storage.whole_files import FULL

ClipSource = Path | BinaryIO

TAG_ERRORS = "surrogateescape"
"""How tags that are not UTF-8 are read and written: their bytes stay as they are."""


def name_of(source: ClipSource) -> str:
    """Return the name of a clip in messages."""
    if not isinstance(source, Path):
        return "the video stream"
    return STDIN_COPY if source.name == STDIN_COPY else str(source)


@contextmanager
def reading_errors(name: str) -> Iterator[None]:
    """Translate the library's errors about an input.

    Raises:
        InputError: The input is damaged or of an unsupported kind.
        OutOfMemoryError: A frame does not fit in memory.
    """
    try:
        yield
    except av.error.MemoryError as error:
        raise OutOfMemoryError(f"a frame of {name} does not fit in memory") from error
    except av.FFmpegError as error:
        raise InputError(f"{name} is damaged or incomplete") from error


@contextmanager
def writing_errors(target: object) -> Iterator[None]:
    """Translate the errors of the library and the operating system about an output.

    Raises:
        OutputError: The output cannot be written.
        DiskFullError: There is no space left for the output.
    """
    try:
        yield
    except BrokenPipeError:
        raise  # the reader has closed the pipe: the command ends quietly
    except (av.FFmpegError, OSError) as error:
        kind = DiskFullError if error.errno in FULL else OutputError
        reason = "the disk is full" if kind is DiskFullError else error.strerror
        raise kind(f"cannot write {target}: {reason}") from error


def packets_of(container: InputContainer, *streams: Stream) -> Iterator["Packet[Stream]"]:
    """Read packets; those of all streams that are known now, if none is named.

    PyAV fails at the end of a file in which a stream appeared after the file was opened, as in recordings of
    television. The packets of such streams are left out.

    Yields:
        Packets, and at the end one without content for each stream, which flushes its decoder.
    """
    known = list(streams or container.streams)
    flushed = set()
    try:
        for packet in container.demux(known):
            if not packet.size:
                flushed.add(packet.stream.index)
            yield packet
    except IndexError:
        for stream in known:
            if stream.index not in flushed:
                packet = Packet()
                packet.stream = stream
                yield packet


_FAR = {"probesize": "100000000", "analyzeduration": "3600000000"}
"""How far a file is searched for sound that begins late: 100 MB, which are held in memory, or an hour."""


def open_with_sound(source: Path) -> InputContainer:
    """Open a clip; if a track of sound begins late, read on until its parameters are known.

    FFmpeg reads only the first seconds of a recording. Without the parameters, no container takes the track.
    The clip may be cut off, because the reader of its frames decides whether such a clip is kept.

    Raises:
        InputError: The source cannot be opened; see ``open_clip``.
    """
    file = open_clip(source, may_end_early=True)
    known = (stream.codec_context is None or stream.codec_context.channels for stream in file.streams.audio)
    if all(known):
        return file
    file.close()
    return open_clip(source, _FAR, may_end_early=True)


_FAR_PACKETS = 100_000


def first_packets(source: Path, index: int) -> Iterator["Packet[Stream]"]:
    """Yield the packets of one stream from the beginning, as ``packets_of`` does, unless they are far away.

    Raises:
        InputError: The source cannot be opened; see ``open_clip``.
    """
    with closing(open_with_sound(source)) as file:
        for packet in islice(packets_of(file), _FAR_PACKETS):
            if packet.stream.index == index:
                yield packet


def open_clip(
    source: ClipSource, options: dict[str, str] | None = None, *, may_end_early: bool = False
) -> InputContainer:
    """Open a container for reading; the caller closes it.

    Args:
        source: A path, or a binary file, which need not be seekable (a pipe of YUV4MPEG2).
        options: Options of FFmpeg's reader.
        may_end_early: Whether to open a clip that is cut off, if its header can be read.

    Raises:
        InputError: The source is missing, a folder, empty or not a clip.
        DamageError: The source is cut off.
    """
    name = name_of(source)
    cut_off = isinstance(source, Path) and _is_cut_off(source)
    sentence = f"{name} is cut off: its header states more data than the file contains"
    try:
        # Undecodable bytes in a tag are no reason to refuse the clip.
        container = av.open(
            _readable(source), mode="r", metadata_errors=TAG_ERRORS, container_options=options or {}
        )
    except av.FFmpegError as error:
        raise (InputError(sentence) if cut_off else _no_clip(source, name, error)) from error
    if cut_off and not may_end_early:
        container.close()
        raise DamageError(sentence, hint=KEEP_HINT)
    return container


def _url(target: ClipSource) -> str | BinaryIO:
    """Return a path with the file protocol, because `a:` in a name like `a:b.mp4` would mean a protocol."""
    return f"file:{target}" if isinstance(target, Path) else target


def _readable(source: ClipSource) -> str | BinaryIO | Counted:
    return _url(source) if isinstance(source, Path) or source.seekable() else Counted(source)


def open_target(
    target: Path | BinaryIO, container: str, options: dict[str, str] | None = None
) -> OutputContainer:
    """Open a container for writing; the caller closes it.

    Raises:
        OutputError: The target cannot be written.
    """
    with writing_errors(name_of(target)):
        return av.open(
            _url(target),
            mode="w",
            format=container,
            container_options=options or {},
            metadata_errors=TAG_ERRORS,
        )


def _is_cut_off(path: Path) -> bool:
    """Return whether a file is cut off, and refuse one that is no clip or is encrypted."""
    if path.is_dir():
        raise InputError(f"{path} is a folder")
    try:
        if path.stat().st_size == 0:
            raise InputError(f"{path} is empty")
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if is_encrypted(path):
        raise InputError(f"{name_of(path)} is encrypted", hint="decrypt it first")
    return ends_early(path)


def _no_clip(source: ClipSource, name: str, error: av.FFmpegError) -> InputError:
    """Return the error for a source that cannot be opened: a clip without its end, or not a clip."""
    if isinstance(error, av.error.EOFError):
        return InputError(f"{name} is empty")
    if isinstance(source, Path) and looks_like_clip(head_of(source)):
        return InputError(f"{name} is damaged or cut off: its index cannot be read")
    return InputError(f"{name} is not a clip that this program can read")


def head_of(path: Path, size_bytes: int = 4096) -> bytes:
    """Return the first bytes of a file.

    Raises:
        InputError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(size_bytes)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
