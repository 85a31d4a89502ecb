"""Options that several commands share, and options of the main command about itself."""

from collections.abc import Sequence
from typing import Annotated

import typer

from esc_cli.cli import completion
from esc_cli.cli.output import answer
from esc_cli.engine.executors.registry import REQUESTS
from esc_cli.evaluation.degradation.names import DegradationName
from esc_cli.version import made_by

PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_SHORT_PRECISIONS = {"fp32": "float32", "fp16": "float16", "half": "float16", "bf16": "bfloat16"}


def read_factor(text: str | float) -> float:
    """Read a factor, such as 2, 1.5, 2x or x2.

    Raises:
        BadParameter: The text is not a number.
    """
    try:
        return float(text.strip().lower().strip("x") if isinstance(text, str) else text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a factor such as 2 or 1.5.") from error


def read_precision(text: str) -> str:
    """Read a precision by its full name or a short one, such as fp16.

    Raises:
        BadParameter: There is no such precision.
    """
    return _one_of(PRECISIONS, _SHORT_PRECISIONS.get(text, text))


def read_runtime(text: str) -> str:
    """Read the name of a runtime.

    Raises:
        BadParameter: There is no such runtime.
    """
    return _one_of(REQUESTS, text)


def _one_of(names: Sequence[str], name: str) -> str:
    if name not in names:
        raise typer.BadParameter(f"{name!r} is not one of {', '.join(names)}.")
    return name


def _print_version(asked: bool) -> None:
    if asked:
        answer(made_by())
        raise typer.Exit


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        autocompletion=completion.models,
        help="Model to use: a shipped model, the file of a checkpoint, nearest or bicubic.",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        "-d",
        help="Device to run on: auto, cpu, cuda, cuda:1, mps, ...",
        metavar="DEVICE",
        autocompletion=completion.devices,
    ),
]
Scale = Annotated[
    int | None,
    typer.Option("--scale", "-s", help="Factor to enlarge by. The default is the largest of the model."),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta",
        help="Average the results of eight flips and rotations: slightly better, but 8 times the work.",
    ),
]
Degradation = Annotated[
    DegradationName,
    typer.Option(
        help="How pictures are shrunk: bicubic, robust (slight blur, noise, JPEG) or real (as Real-ESRGAN)."
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="FILE", help="Configuration file to read instead of the usual one."),
]
NoConfig = Annotated[bool, typer.Option("--no-config", help="Read no configuration file.")]
Use = Annotated[
    str | None,
    typer.Option(
        "--use",
        metavar="NAME",
        autocompletion=completion.sets,
        help="Set of options to take from the configuration file.",
    ),
]
PrintConfig = Annotated[
    bool,
    typer.Option(
        "--print-config",
        allow_from_autoenv=False,
        help="Print the options of the run as a configuration file and exit.",
    ),
]
InstallCompletion = Annotated[
    bool,
    typer.Option(
        "--install-completion",
        callback=completion.install,
        is_eager=True,
        help="Complete words in the current shell from now on, and exit.",
    ),
]
ShowCompletion = Annotated[
    bool,
    typer.Option(
        "--show-completion",
        callback=completion.show,
        is_eager=True,
        help="Print the script that completes words in the current shell, and exit.",
    ),
]
Version = Annotated[
    bool,
    typer.Option(
        "--version",
        "-V",
        callback=_print_version,
        is_eager=True,
        allow_from_autoenv=False,
        help="Show the version and exit.",
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", allow_from_autoenv=False, help="Write JSON lines to stdout instead of text."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]
