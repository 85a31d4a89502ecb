"""``esc-upscale``: upscale pictures, unless the first word is a command."""

import atexit
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from esc_cli.engine.waiting import let_threads_sleep
from esc_cli.errors import ExitCode, UsageError, did_you_mean

if TYPE_CHECKING:
    import typer

COMMANDS = {
    "models": "list, describe and verify models",
    "evaluate": "measure a model on a folder of pictures",
    "benchmark": "measure speed, memory and accuracy on this machine",
    "train": "train a network on a folder of pictures",
    "ablate": "train networks that differ in one part, and compare them",
    "analyze": "measure what a network attends to",
    "export": "write a model as an ONNX file for other programs",
    "compare": "show the results of several models on one sheet",
    "doctor": "check that every part works on this machine",
}
"""Description of each command.

Each command is a module of this package with a Typer ``app``. Only the module of the command is loaded.
"""


HELP = "help"
"""The word before a command that shows its help."""


def main() -> None:
    """Run the command; the entry point of the package."""
    let_threads_sleep(os.environ)
    try:
        from esc_cli.cli.guard import exit_code_of
    except KeyboardInterrupt:  # no work has started, and nothing can print a message yet
        raise SystemExit(int(ExitCode.INTERRUPTED)) from None
    _let_stdout_escape()
    arguments = sys.argv[1:]
    try:
        code = int(exit_code_of(lambda: _run(arguments)))
    except SystemExit as end:
        _leave_threads(end.code)
        raise
    _leave_threads(code)
    raise SystemExit(code)


def _leave_threads(code: object) -> None:
    """End the process at once if a stopped run has left a thread that is still encoding.

    Python would wait for it. What it makes is in memory only, and is not published any more.
    """
    if not (code and isinstance(code, int)):
        return
    from esc_cli.jobs.pipeline import threads_at_work

    if threads_at_work():
        atexit._run_exitfuncs()
        os._exit(code)


def _run(arguments: list[str]) -> None:
    from esc_cli.cli.application import run_application
    from esc_cli.cli.completion import VARIABLE, complete

    if VARIABLE in os.environ:
        return complete(os.environ[VARIABLE], COMMANDS, _command)
    if arguments[:1] == [HELP]:
        arguments = _of_help(arguments[1:])
    _refuse_misspelt(arguments)
    if arguments and arguments[0] in COMMANDS:
        name = arguments.pop(0)
        run_application(_app(name), arguments, f"esc-upscale {name}")
    else:
        run_application(_app("upscale"), arguments or ["--help"], "esc-upscale")
    return None


def _of_help(commands: list[str]) -> list[str]:
    """Return the arguments that show the help of a command, or of the main command if none is named."""
    for name in commands[:1]:
        if name not in COMMANDS:
            hint = did_you_mean(name, COMMANDS) or f"the commands are {', '.join(COMMANDS)}"
            raise UsageError(f"there is no command {name!r}", hint=hint)
    return [*commands, "--help"]


def _refuse_misspelt(arguments: list[str]) -> None:
    """Raise an error if the first word looks like a misspelled command and is not the name of a file."""
    if not arguments or arguments[0] in COMMANDS or os.path.lexists(arguments[0]):
        return
    nearest = did_you_mean(arguments[0], COMMANDS, cutoff=0.8)
    if nearest is not None:
        raise UsageError(f"there is no command and no file {arguments[0]!r}", hint=nearest)


def _let_stdout_escape() -> None:
    """Make stdout escape characters that its encoding lacks, as stderr does: names may be in any script."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _app(name: str) -> "typer.Typer":
    app: typer.Typer = import_module(f"esc_cli.cli.{name}").app
    return app


def _command(name: str) -> Any:
    from typer.main import get_command

    return get_command(_app(name))
