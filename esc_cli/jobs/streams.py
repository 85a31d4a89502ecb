"""Standard input and output, with our own errors."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import BinaryIO

from esc_cli.errors import InputError, OutputError

STDIN = "-"
STDOUT = "-"
"""What people call them, in the place of a file's name."""


def read_stdin() -> bytes:
    """Read all of standard input.

    Raises:
        InputError: There is none, it is empty, or it cannot be read.
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
    """Give standard input if raw frames (YUV4MPEG2) come through it, which need not be read as a whole."""
    buffer = getattr(sys.stdin, "buffer", None)
    try:
        holds_frames = isinstance(buffer, BufferedReader) and buffer.peek(16).startswith(b"YUV4MPEG2 ")
    except OSError:
        return None  # whoever reads it as a whole says why
    return buffer if holds_frames else None


def write_stdout(content: bytes) -> None:
    """Write to standard output, at once.

    Raises:
        OutputError: It is closed, its disk is full, ...
        BrokenPipeError: Its reader went away, which is no error worth a sentence.
    """
    with stdout_errors():
        rest = memoryview(content)
        while rest:  # unbuffered (PYTHONUNBUFFERED), a stream may take less than it is given
            rest = rest[sys.stdout.buffer.write(rest) :]
        sys.stdout.buffer.flush()


def stdout_file() -> BinaryIO:
    """Give standard output for bytes; to be used inside ``stdout_errors``."""
    return sys.stdout.buffer


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Translate what goes wrong with standard output inside.

    Raises:
        OutputError: It is closed, its disk is full, ...
        BrokenPipeError: Its reader went away.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed")
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written to: {error.strerror}") from error
