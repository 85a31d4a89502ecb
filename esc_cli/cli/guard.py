"""Turn errors into messages, events and exit codes.

This is the only place that does so. No traceback reaches a user. With ``--json``, every run that fails or is
stopped ends with an event on stdout that has the message, the hint and the exit code.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import wraps
from types import FrameType
from typing import ParamSpec, TextIO

from esc_cli.cli.output import print_event, say_error
from esc_cli.errors import DEBUG_VARIABLE, EscError, ExitCode, unforeseen
from esc_cli.jobs.events import Refused, Stopped

P = ParamSpec("P")


class _TerminatedError(BaseException):
    """SIGTERM or SIGHUP arrived.

    Like KeyboardInterrupt, it is not an ``Exception``: it ends the work, and unfinished files are removed.
    """


def guarded(command: Callable[P, ExitCode | None]) -> Callable[P, None]:
    """Make a command end with the exit codes of ``esc_cli.errors``, whatever happens inside it.

    Args:
        command: Function that returns its exit code. None means ``OK``.
    """

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        code = exit_code_of(lambda: command(*args, **kwargs))
        if code is not ExitCode.OK:
            raise SystemExit(int(code))

    return wrapper


def exit_code_of(command: Callable[[], ExitCode | None]) -> ExitCode:
    """Run a command, print its errors on stderr as messages, and return its exit code."""
    try:
        with _signals_raise():
            return command() or ExitCode.OK
    except (Exception, KeyboardInterrupt, _TerminatedError) as error:
        ending = ending_of(error)
        if ending.code is ExitCode.BUG and os.environ.get(DEBUG_VARIABLE) and not isinstance(error, EscError):
            raise
        if ending.message is None:
            return ending.code
        say_error(ending.message, ending.hint)
        return tell_end(last_event(error, ending.message, ending))
    finally:
        _settle(sys.stdout)
        _settle(sys.stderr)


@dataclass(frozen=True)
class Ending:
    """How a command ends because of an exception: its exit code, and what it says, if anything."""

    code: ExitCode
    message: str | None
    hint: str | None = None


def ending_of(error: BaseException) -> Ending:
    """Return how a command ends because of an exception. The work may have noted on it what is done."""
    done = "; ".join(getattr(error, "__notes__", ())) or None
    match error:
        case EscError():
            return Ending(error.exit_code, error.message, error.hint)
        case KeyboardInterrupt():
            return Ending(ExitCode.INTERRUPTED, "interrupted", done)
        case _TerminatedError():
            return Ending(ExitCode.TERMINATED, "terminated", done)
        case BrokenPipeError():
            return Ending(ExitCode.CANNOT_WRITE, None)  # the reader has closed the pipe
        case Exception():
            bug = unforeseen(error)
            return Ending(bug.exit_code, bug.message, bug.hint)
        case _:
            return Ending(ExitCode.BUG, None)


def last_event(error: BaseException, message: str, ending: Ending) -> Refused | Stopped:
    """Return the last event of a run that ends because of an exception.

    Args:
        error: The exception.
        message: The message of the ending.
        ending: How the run ends.
    """
    event = Refused if isinstance(error, EscError) else Stopped
    return event(message, ending.hint, int(ending.code))


def tell_end(event: Refused | Stopped) -> ExitCode:
    """Print the last event of a run on stdout if the user wants events, and return its exit code.

    The options may be the mistake, so the arguments are searched for the one that asks for events.
    """
    if "--json" in sys.argv:
        with suppress(EscError, OSError):  # another failure must not replace this one
            print_event(event)
    return ExitCode(event.exit_code)


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Turn the signals that end a program into exceptions, so that the program can clean up.

    The first signal ends the work. Later ones are ignored until the cleanup is done: a second Ctrl-C must
    not leave behind files that the first is about to remove. Signals that the caller ignores (nohup) stay
    ignored.
    """
    wanted = [signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])]
    caught = [number for number in wanted if signal.getsignal(number) is not signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> None:
        for other in caught:
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else _TerminatedError

    before = {number: signal.signal(number, end) for number in caught}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _settle(stream: TextIO | None) -> None:
    """Flush a stream. If that fails, drop its content: Python would report the error at exit."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
