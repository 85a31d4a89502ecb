"""The one place where an error becomes a sentence and an exit code. No traceback reaches a user."""

import os
import signal
import sys
from collections.abc import Callable
from functools import wraps
from types import FrameType
from typing import ParamSpec

from rich.markup import escape

from esc_cli.cli.output import stderr_console
from esc_cli.errors import EscError, ExitCode

P = ParamSpec("P")

DEBUG_VARIABLE = "ESC_UPSCALE_DEBUG"
"""If set, an unforeseen error shows its traceback: for reports of bugs."""


class _TerminatedError(BaseException):
    """SIGTERM came; like KeyboardInterrupt, so that half-made work is cleared away on the way out."""


def guarded(command: Callable[P, None]) -> Callable[P, None]:
    """Make a command end with the exit codes of ``esc_cli.errors``, whatever happens inside it."""

    @wraps(command)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, _terminate)
        code = _exit_code(lambda: command(*args, **kwargs))
        if code is not ExitCode.OK:
            raise SystemExit(int(code))

    return wrapper


def _exit_code(command: Callable[[], None]) -> ExitCode:
    try:
        command()
        sys.stdout.flush()
    except EscError as error:
        say_error(error)
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return ExitCode.INTERRUPTED
    except _TerminatedError:
        _say("terminated")
        return ExitCode.TERMINATED
    except BrokenPipeError:
        # The reader went away: not worth a word. Python's own flush at exit would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.CANNOT_WRITE
    except Exception as error:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        _say(f"a bug: {type(error).__name__}: {error}")
        _say(f"  please report it, with what {DEBUG_VARIABLE}=1 in the environment shows")
        return ExitCode.BUG
    return ExitCode.OK


def say_error(error: EscError) -> None:
    """Print an error's sentence and its hint on stderr."""
    _say(error.message)
    if error.hint:
        _say(f"  {error.hint}")


def _say(text: str) -> None:
    prefix = "" if text.startswith(" ") else "[red]esc-upscale:[/red] "
    stderr_console().print(prefix + escape(text))


def _terminate(number: int, frame: FrameType | None) -> None:
    raise _TerminatedError
