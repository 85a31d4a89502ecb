"""Every error a user can meet: one tree, one table of exit codes.

A message is one clear sentence; ``hint`` is what to do about it. Scripts may rely on the numbers.
"""

import difflib
from collections.abc import Iterable
from enum import IntEnum

DEBUG_VARIABLE = "ESC_UPSCALE_DEBUG"
"""If set in the environment, an unforeseen error shows its traceback: for reports of bugs."""


class ExitCode(IntEnum):
    """What the command answers; a stable interface."""

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
    """Root of our own errors.

    Args:
        message: One sentence, without a trailing full stop.
        hint: What the user can do, or None.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class UsageError(EscError):
    """The request makes no sense, whatever the files hold."""

    exit_code = ExitCode.USAGE


class InputError(EscError):
    """An input is missing, unreadable, damaged or of no known kind."""

    exit_code = ExitCode.BAD_INPUT


class WeightsError(EscError):
    """A model is unknown, or its file is missing, damaged or of no known network."""

    exit_code = ExitCode.WEIGHTS


class DeviceError(EscError):
    """There is no such device, or it cannot do what was asked of it."""

    exit_code = ExitCode.DEVICE


class OutOfMemoryError(DeviceError):
    """Not even the smallest piece of the work fits in the memory of the device."""


class OutputError(EscError):
    """A result cannot be written."""

    exit_code = ExitCode.CANNOT_WRITE


class OutputExistsError(OutputError):
    """The result's name is taken, and nobody said what to do about that."""


class DiskFullError(OutputError):
    """There is no space left: nothing further can be written there either."""


def unforeseen(error: Exception) -> EscError:
    """Make a sentence of an error that nobody foresaw: a bug of ours."""
    return EscError(
        f"a bug: {type(error).__name__}: {error}",
        hint=f"please report it, with what {DEBUG_VARIABLE}=1 in the environment shows",
    )


def as_ours(error: Exception) -> EscError:
    """Make one of our errors of whatever stopped one input, without the tensors that its traceback holds."""
    if isinstance(error, MemoryError):
        return OutOfMemoryError("there is not enough memory for this picture")
    ours = error if isinstance(error, EscError) else unforeseen(error)
    ours.__cause__ = ours.__context__ = None
    return ours.with_traceback(None)


def did_you_mean(word: str, words: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Name the nearest of some words, as a hint: "did you mean 'scale'?"; None if none is near."""
    close = difflib.get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return f"did you mean {close[0]!r}?" if close else None
