"""Complete words in the shell: commands, options, and the values of options.

Typer has the scripts for each shell. They call the program with the typed words in the environment. Only the
module of the typed command is loaded, and never torch.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any, get_args

import typer

from esc_cli.errors import EscError, OutputError, UsageError
from esc_cli.version import PROGRAM

VARIABLE = "_ESC_UPSCALE_COMPLETE"
"""Environment variable that asks for completions; Typer derives its name from that of the program."""

_SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

_TAILS = {
    "zsh": '\nif [[ $zsh_eval_context[-1] == loadautofunc ]]; then _esc_upscale_completion "$@"; fi\n',
}
"""Lines that Typer's scripts lack. Without this one, the first Tab in each terminal completes nothing.

Source: the script for zsh in click.shell_completion.
"""

_ATTENTION = ("auto", "naive", "sdpa", "blocked", "flex", "flash")
"""The backends by name. A test compares them with the registry, which loads torch."""

_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")

Completer = Callable[[typer.Context, str], list[str]]
"""A function that returns the values of an option that complete a word."""


def complete(instruction: str, commands: Mapping[str, str], command_named: Callable[[str], Any]) -> None:
    """Answer the shell.

    Args:
        instruction: The value of ``VARIABLE``, such as ``complete_bash``.
        commands: Description of each command.
        command_named: Returns a command by its name, or the main command for the name "upscale".

    Raises:
        UsageError: The shell is unknown.
    """
    of_typer = _of_typer()
    of_typer.completion_init()
    shell = instruction.partition("_")[2]
    base: Any = of_typer.shell_completion.get_completion_class(shell)
    if base is None:
        raise UsageError(f"words cannot be completed in the shell {shell!r}")

    class Completion(base):  # type: ignore[misc]
        def get_completions(self, args: list[str], incomplete: str) -> list[Any]:
            args = [word for word in args if word != "="]  # bash separates --name=value
            if not args or args == ["help"]:
                names = _commands_like(incomplete, commands, only=bool(args))
                if names or args:
                    make = of_typer.shell_completion.CompletionItem
                    return [make(name, help=commands.get(name)) for name in names]
            name, rest = (args[0], args[1:]) if args and args[0] in commands else ("upscale", args)
            self.cli = command_named(name)
            completions: list[Any] = super().get_completions(rest, incomplete)
            return completions

    print(Completion(None, {}, PROGRAM, VARIABLE).complete())  # noqa: T201 - the shell reads it


def install(context: typer.Context, asked: bool) -> None:
    """Install the completion for the current shell, and exit."""
    if not asked or context.resilient_parsing:
        return
    from esc_cli.cli.output import answer

    try:
        shell, path = _of_typer().install(_current_shell(), PROGRAM, VARIABLE)
        with path.open("a", encoding="utf-8") as file:
            file.write(_TAILS.get(shell, ""))
    except OSError as error:
        raise OutputError(f"the completion cannot be installed: {error.strerror}") from error
    answer(f"{path} completes words in {shell}, in each new terminal")
    raise typer.Exit


def show(context: typer.Context, asked: bool) -> None:
    """Print the script that completes words in the current shell, and exit."""
    if not asked or context.resilient_parsing:
        return
    script = _of_typer().get_completion_script
    shell = _current_shell()
    print(script(prog_name=PROGRAM, complete_var=VARIABLE, shell=shell) + _TAILS.get(shell, ""))  # noqa: T201 - without line breaks or styles of Rich
    raise typer.Exit


def one_of(*values: str) -> Completer:
    """Return a completer for an option with these values."""

    def completer(context: typer.Context, incomplete: str) -> list[str]:
        return _like(incomplete, values)

    return completer


def models(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of models. If there is none, the shell completes files."""
    from esc_cli.checkpoints.manifest import AUTO_MODEL, Baseline, read_manifest

    try:
        return _like(
            incomplete, (AUTO_MODEL, *(entry.name for entry in read_manifest()), *get_args(Baseline))
        )
    except EscError:
        return []


def formats(context: typer.Context, incomplete: str) -> list[str]:
    """Return the extensions of pictures, clips and archives that are written."""
    from esc_cli.media.archives import ARCHIVES
    from esc_cli.media.formats.registry import WRITTEN
    from esc_cli.media.video.containers import CONTAINERS

    extensions = [one.extensions for one in WRITTEN]
    extensions += [one.extensions for one in CONTAINERS] + [one.extensions for one in ARCHIVES]
    return _like(incomplete, (extension[1:] for several in extensions for extension in several))


def sets(context: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the sets in the configuration file."""
    from esc_cli.cli.option_layers import set_names

    return _like(incomplete, set_names(context.params.get("config")))


attention = one_of(*_ATTENTION)


def devices(context: typer.Context, incomplete: str) -> list[str]:
    """Return the kinds of devices of the runtime that was typed before, or of torch."""
    if context.params.get("runtime") != "onnx":
        return _like(incomplete, _DEVICES)
    from esc_cli.engine.executors.onnx_providers import PROVIDERS

    return _like(incomplete, ("auto", *(one.name for one in PROVIDERS)))


def _like(incomplete: str, values: Iterable[str]) -> list[str]:
    return [value for value in dict.fromkeys(values) if value.startswith(incomplete)]


def _commands_like(incomplete: str, commands: Iterable[str], *, only: bool) -> list[str]:
    """Return the commands that the first word may be.

    The word may also be a file: the shell completes files if there is one, and if nothing is typed yet.
    """
    if not only and (not incomplete or any(name.startswith(incomplete) for name in os.listdir())):  # noqa: PTH208
        return []
    return _like(incomplete, commands)


def _current_shell() -> str:
    shell = _of_typer()._get_shell_name()
    if shell not in _SHELLS:
        hint = f"start the command in {', '.join(_SHELLS)}"
        raise UsageError(f"words cannot be completed in the current shell ({shell or 'unknown'})", hint=hint)
    return str(shell)


def _of_typer() -> Any:
    return import_module("typer.completion")
