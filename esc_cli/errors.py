"""Define the errors that a user can see, and their exit codes.

All errors derive from ``EscError``. The message is one clear sentence, and the hint says what to do. Scripts
may rely on the exit codes.
"""

import difflib
from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Self

DEBUG_VARIABLE = "ESC_UPSCALE_DEBUG"
"""Environment variable that makes an unexpected error show its traceback, for bug reports."""


class ExitCode(IntEnum):
    """Exit codes of the command. They are a stable interface."""

    OK = 0
    BUG = 1
    USAGE = 2
    BAD_INPUT = 3
    WEIGHTS = 4
    DEVICE = 5
    CANNOT_WRITE = 6
    SOME_FAILED = 7
    INTERRUPTED = 130
    TERMINATED = 143


class EscError(Exception):
    """Base class of this program's own errors.

    Args:
        message: One sentence, without a trailing full stop.
        hint: Advice on what the user can do, or None.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[Self], tuple[str, str | None]]:
        """Keep the hint when an error goes from one process to another."""
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class UsageError(EscError):
    """The request is invalid, regardless of the contents of the files."""

    exit_code = ExitCode.USAGE


class InputError(EscError):
    """An input is missing, unreadable, damaged or of an unknown kind."""

    exit_code = ExitCode.BAD_INPUT


class DamageError(InputError):
    """A part of an input is damaged, and the rest can perhaps be read."""


class WeightsError(EscError):
    """A model is unknown, or its file is missing, damaged or does not hold a known network."""

    exit_code = ExitCode.WEIGHTS


class UnknownNetworkError(WeightsError):
    """The tensors of a file belong to no ESC network."""


class DeviceError(EscError):
    """The device does not exist, or it cannot do what was requested."""

    exit_code = ExitCode.DEVICE


class OutOfMemoryError(DeviceError):
    """Even the smallest piece of the work does not fit in the memory of the device."""


class OutputError(EscError):
    """A result cannot be written."""

    exit_code = ExitCode.CANNOT_WRITE


class OutputExistsError(OutputError):
    """The result already exists, and the user did not say how to handle that."""


class DiskFullError(OutputError):
    """No space is left on the disk, so nothing else can be written there either."""


def unforeseen(error: Exception) -> EscError:
    """Return an ``EscError`` for an unexpected exception.

    It is a bug of this program, unless it is a lack of memory, or the current folder was removed.
    """
    if isinstance(error, MemoryError):
        return OutOfMemoryError("there is not enough memory")
    if isinstance(error, FileNotFoundError) and not _has_current_folder():
        return InputError("the current folder no longer exists", hint="change to a folder that exists")
    return EscError(
        f"a bug: {type(error).__name__}: {error}",
        hint=f"please report it, with the traceback that {DEBUG_VARIABLE}=1 in the environment shows",
    )


def _has_current_folder() -> bool:
    try:
        return Path.cwd().is_dir()
    except FileNotFoundError:
        return False


def as_ours(error: Exception) -> EscError:
    """Return an ``EscError`` for the exception that stopped one input.

    The traceback is dropped, because it holds tensors.
    """
    if isinstance(error, MemoryError):
        return OutOfMemoryError("there is not enough memory for this picture")
    ours = error if isinstance(error, EscError) else unforeseen(error)
    ours.__cause__ = ours.__context__ = None
    return ours.with_traceback(None)


def did_you_mean(word: str, words: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return a hint with the nearest of some words, such as "did you mean 'scale'?".

    Case makes no difference. The hint is None if no word is near enough.
    """
    known = {name.casefold(): name for name in words}
    close = difflib.get_close_matches(word.casefold(), list(known), n=1, cutoff=cutoff)
    return f"did you mean {known[close[0]]!r}?" if close else None


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error, which a message of ours gives as the reason."""
    return str(error).strip().partition("\n")[0]


def last_line(error: BaseException) -> str:
    """Return the last line of a library's error, where its first lines say only which code has failed."""
    return str(error).strip().rpartition("\n")[2].strip()
