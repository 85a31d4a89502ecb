"""The Typer application of a command, alike for all of them."""

from typing import Any

import typer


def new_application(**settings: Any) -> typer.Typer:
    """Make one: plain help, also by -h, and no tracebacks of its own.

    Args:
        settings: Further ones, as of ``typer.Typer``.
    """
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        **settings,
    )
