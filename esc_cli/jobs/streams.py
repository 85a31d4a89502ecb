"""Read standard input and write standard output, with this program's own errors."""

import atexit
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from esc_cli.errors import DiskFullError, InputError, OutputError
from esc_cli.media.video.containers import STDIN_COPY, looks_like_clip

STDIN = "-"
STDOUT = "-"
"""The name that stands for standard input or output in place of a file name."""


_HEAD_BYTES, _PART_BYTES = 4096, 1 << 20


def read_stdin() -> bytes | Path:
    """Read all of standard input.

    Returns:
        A picture's bytes. A clip, which may be larger than memory and is read several times, goes to a
        temporary file, which is removed at the end of the program.

    Raises:
        InputError: Standard input is closed, empty or unreadable.
        DiskFullError: There is no space for a temporary file.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed")
    try:
        content = sys.stdin.buffer.read(_HEAD_BYTES)
        if looks_like_clip(content):
            return _spooled(content, sys.stdin.buffer)
        content += sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror}") from error
    if not content:
        raise InputError("there is nothing on standard input")
    return content


def _spooled(head: bytes, rest: BinaryIO) -> Path:
    folder = tempfile.mkdtemp(prefix="esc-upscale-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    target = Path(folder) / STDIN_COPY
    with target.open("wb", buffering=0) as file:
        for part in chain((head,), iter(lambda: rest.read(_PART_BYTES), b"")):
            _append(file, part)
    return target


def _append(file: BinaryIO, part: bytes) -> None:
    try:
        unwritten = memoryview(part)
        while unwritten:
            unwritten = unwritten[file.write(unwritten) :]
    except OSError as error:
        place = tempfile.gettempdir()
        raise DiskFullError(
            f"standard input cannot be copied to {place}: {error.strerror}",
            hint="name the clip as a file, or set TMPDIR to a folder with more space",
        ) from error


def stdin_frames() -> BufferedReader | None:
    """Return standard input if it holds raw frames (YUV4MPEG2), and None otherwise.

    Raw frames need not be read as a whole.
    """
    buffer = getattr(sys.stdin, "buffer", None)
    try:
        holds_frames = isinstance(buffer, BufferedReader) and buffer.peek(16).startswith(b"YUV4MPEG2 ")
    except OSError:
        return None  # ``read_stdin`` reports the reason
    return buffer if holds_frames else None


def write_stdout(content: bytes) -> None:
    """Write bytes to standard output and flush it.

    Raises:
        OutputError: Standard output is closed, its disk is full, ...
        BrokenPipeError: The reader closed the pipe, which needs no error message.
    """
    with stdout_errors():
        rest = memoryview(content)
        while rest:  # an unbuffered stream (PYTHONUNBUFFERED) may write only a part
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()


def stdout_file() -> BinaryIO:
    """Return standard output as a binary file, for use inside ``stdout_errors``."""
    return sys.stdout.buffer


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Translate the errors of standard output that occur inside this context.

    Raises:
        OutputError: Standard output is closed, its disk is full, ...
        BrokenPipeError: The reader closed the pipe.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written to: {error.strerror}") from error
