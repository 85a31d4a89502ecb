"""``esc-upscale``: pictures are upscaled unless the first word is a command."""

import sys
from collections.abc import Callable
from importlib import import_module

import typer

COMMANDS = {
    "models": "List, describe and verify models.",
    "evaluate": "Measure a model on a folder of pictures.",
    "train": "Train a network on a folder of pictures.",
}
"""Names of the modules beside this one, each with a Typer ``app``; only the one asked for is loaded."""


def main() -> None:
    """Run the command; the entry point of the package."""
    arguments = sys.argv[1:]
    if arguments and arguments[0] in COMMANDS:
        name = arguments.pop(0)
        _app(name)(args=arguments, prog_name=f"esc-upscale {name}")
    else:
        _app("upscale")(args=arguments or ["--help"], prog_name="esc-upscale")


def _app(name: str) -> Callable[..., None]:
    app: typer.Typer = import_module(f"esc_cli.cli.{name}").app
    return app
