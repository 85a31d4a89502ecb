"""The Typer application that all commands share, with help in panels."""

import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any, cast

import typer
from typer.core import TyperCommand

from esc_cli.cli.guard import tell_end
from esc_cli.jobs.events import Refused
from esc_cli.jobs.streams import stdout_errors

_Mistake = cast(Any, typer.BadParameter.__base__)
"""The class of all errors in arguments, for which Typer has no name of its own."""

_TYPE_WORDS = {
    r"^(\w+) <(list\[str\]|str|path)>$": r"\1",
    r"<list\[str\]>": "TEXT",
    r"<float,float>\.\.\.": "N N",
    r"<(int|float)( range)?>": "N",
    r"<path>": "PATH",
    r"<str>": "TEXT",
}
"""Words that the help shows in place of the Python types that Typer writes."""

_CHECKS = {
    r"^Input should be a valid number, unable.*": "it must be a number.",
    r"^Input should be a valid integer, (?:unable|got).*": "it must be a whole number.",
    r"^Input should be less than or equal to (\S+)$": r"it must be \1 or less.",
    r"^Input should be greater than or equal to (\S+)$": r"it must be \1 or more.",
    r"^Input should be a valid boolean, unable.*": "it must be true or false.",
    r"^Value error, ": "",
}
"""Plain error messages for invalid values, by the messages of the library that Typer uses."""


class HelpCommand(TyperCommand):
    """A command whose help shows its options in panels.

    Attributes:
        begins: Title of each panel, by the name of its first option. A panel extends to the next one.
        after: Panels below those of the options, by title. Each maps a term to its description.
    """

    begins: Mapping[str, str] = MappingProxyType({})
    after: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, and raise errors for invalid values with plain messages."""
        if ctx.resilient_parsing:  # for completions, which would take twice as long with checked values
            for parameter in self.get_params(ctx):
                vars(parameter)["process_value"] = _unchecked
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = said_plainly(error.message)
            raise

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels."""
        title, panels = "Options", dict[str, list[tuple[str, str]]]()
        for parameter in self.get_params(ctx):
            title = self.begins.get(parameter.name or "", title)
            record = parameter.get_help_record(ctx)
            if record is not None:
                panel = "Arguments" if parameter.param_type_name == "argument" else title
                panels.setdefault(panel, []).append((_in_words(record[0]), record[1]))
        for title, rows in self.after.items():
            panels[title] = list(rows.items())
        for title, records in panels.items():
            with formatter.section(title):
                formatter.write_dl(records)


def in_panels(
    begins: Mapping[str, str],
    after: Mapping[str, Mapping[str, str]] | None = None,
    base: type[HelpCommand] = HelpCommand,
    **attributes: Any,
) -> type[HelpCommand]:
    """Return a command class with these panels; see ``HelpCommand``.

    Args:
        begins: See ``HelpCommand``.
        after: See ``HelpCommand``.
        base: Class of the command.
        attributes: Further attributes of the class.
    """
    return type("PanelCommand", (base,), {"begins": begins, "after": after or {}, **attributes})


class _Application(typer.Typer):
    def command(self, *arguments: Any, **options: Any) -> Any:
        return super().command(*arguments, **{"cls": HelpCommand, **options})


def new_application(**settings: Any) -> typer.Typer:
    """Make an application with plain help, also for -h, and without its own tracebacks.

    Args:
        settings: Further arguments of ``typer.Typer``.
    """
    return _Application(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def _unchecked(context: Any, value: Any) -> Any:
    return value


def run_application(application: typer.Typer, arguments: list[str], name: str) -> None:
    """Run a command. A mistake in its arguments is shown with the command's usage, and told as an event.

    Args:
        application: The application of the command.
        arguments: The arguments of the command.
        name: Name of the command, for its usage.

    Raises:
        SystemExit: The command fails.
        OutputError: The help cannot be written to stdout.
    """
    try:
        # The library prints the help and the version. A closed stdout matters only to what writes there.
        with nullcontext() if sys.stdout is None else stdout_errors():
            code = application(args=arguments, prog_name=name, standalone_mode=False)
    except _Mistake as error:
        error.show()
        sentence = error.format_message().removesuffix(".")
        raise SystemExit(tell_end(Refused(sentence, f"see {name} -h", error.exit_code))) from error
    if code:
        raise SystemExit(code)


def said_plainly(message: str) -> str:
    """Return the message of an invalid value in plain words."""
    for pattern, words in _CHECKS.items():
        message = re.sub(pattern, words, message)
    return message


def _in_words(option: str) -> str:
    for pattern, word in _TYPE_WORDS.items():
        option = re.sub(pattern, word, option)
    return option
