"""Read standard input and write standard output, with this program's own errors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import BinaryIO

from esc_cli.errors import InputError, OutputError

STDIN = "-"
STDOUT = "-"
"""The name that stands for standard input or output in place of a file name."""


def read_stdin() -> bytes:
    """Read all of standard input.

    Raises:
        InputError: Standard input is closed, empty or unreadable.
    """
    if sys.stdin is None:
        raise InputError("standard input is closed")
    try:
        content = sys.stdin.buffer.read()
    except OSError as error:
        raise InputError(f"standard input cannot be read: {error.strerror}") from error
    if not content:
        raise InputError("there is nothing on standard input")
    return content


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
