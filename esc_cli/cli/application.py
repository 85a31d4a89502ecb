"""The Typer application of a command, alike for all of them, and help in panels."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import typer
from typer.core import TyperCommand

_TYPE_WORDS = {
    r"^(\w+) <(list\[str\]|str|path)>$": r"\1",
    r"<list\[str\]>": "TEXT",
    r"<float,float>\.\.\.": "N N",
    r"<(int|float)( range)?>": "N",
    r"<path>": "PATH",
    r"<str>": "TEXT",
}
"""Words that help shows in place of the Python types that Typer writes."""

_CHECKS = {
    r"^Input should be a valid number, unable.*": "it must be a number.",
    r"^Input should be a valid integer, (?:unable|got).*": "it must be a whole number.",
    r"^Input should be less than or equal to (\S+)$": r"it must be \1 or less.",
    r"^Input should be greater than or equal to (\S+)$": r"it must be \1 or more.",
    r"^Value error, ": "",
}
"""Our words for what is wrong with a value, by the words of the library that Typer uses."""


class HelpCommand(TyperCommand):
    """A command whose help shows its options in panels.

    Attributes:
        begins: The title of each panel, by the option that it begins with. It goes on to the next one.
        after: Panels behind those of the options, by title: what stands on the left, and what it is.
    """

    begins: Mapping[str, str] = MappingProxyType({})
    after: Mapping[str, Mapping[str, str]] = MappingProxyType({})

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; what is wrong with one is said in our words."""
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as error:
            error.message = _said_plainly(error.message)
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
    begins: Mapping[str, str], after: Mapping[str, Mapping[str, str]] | None = None
) -> type[HelpCommand]:
    """Make the class of a command with these panels; see ``HelpCommand``."""
    return type("PanelCommand", (HelpCommand,), {"begins": begins, "after": after or {}})


class _Application(typer.Typer):
    def command(self, *arguments: Any, **options: Any) -> Any:
        return super().command(*arguments, **{"cls": HelpCommand, **options})


def new_application(**settings: Any) -> typer.Typer:
    """Make one: plain help, also by -h, and no tracebacks of its own.

    Args:
        settings: Further ones, as of ``typer.Typer``.
    """
    return _Application(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )


def _said_plainly(message: str) -> str:
    for pattern, words in _CHECKS.items():
        message = re.sub(pattern, words, message)
    return message


def _in_words(option: str) -> str:
    for pattern, word in _TYPE_WORDS.items():
        option = re.sub(pattern, word, option)
    return option
