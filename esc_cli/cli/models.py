"""``esc-upscale models``: list, describe, average and verify models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.table import Table
from rich.text import Text

from esc_cli.checkpoints.manifest import ModelEntry, auto_models, read_manifest, verify
from esc_cli.checkpoints.model_card import PURPOSES, SETS
from esc_cli.cli import completion
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Json, Overwrite
from esc_cli.cli.output import answer, answer_json, printable, say_error
from esc_cli.errors import ExitCode, UsageError, WeightsError

ModelScale = Annotated[
    int | None, typer.Option("--scale", "-s", help="Factor of the model, if it has several.")
]

_SHORT_PURPOSES = {"bicubic": "clean", "robust": "JPEG", "real": "wild"}

app = new_application(
    help="List, describe and verify models.",
    invoke_without_command=True,
)


@app.callback()
@guarded
def models(context: typer.Context, json: Json = False) -> None:
    """List, describe and verify models. Without a command, list the shipped models."""
    if context.invoked_subcommand is None:
        _show(json)


@app.command("list")
@guarded
def list_models(json: Json = False) -> None:
    """List the shipped models."""
    _show(json)


def _show(json: bool) -> None:
    entries = read_manifest()
    if json:
        answer_json("models", models=[_facts(entry) for entry in entries])
    else:
        answer(_table(entries))


def _facts(entry: ModelEntry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "scale": entry.scale,
        "network": entry.network,
        "file": entry.path.name,
        "sha256": entry.sha256,
        "licence": entry.licence,
        "training_data": entry.training_data,
        "steps": entry.steps,
        "date": entry.date.isoformat(),
        "psnr": dict(entry.psnr),
        "ssim": dict(entry.ssim),
        "minutes": entry.minutes,
        "hardware": entry.hardware,
        "degradation": entry.degradation,
        "psnr_degraded": {name: dict(figures) for name, figures in entry.psnr_degraded.items()},
    }


def _table(entries: Sequence[ModelEntry]) -> Table:
    table = Table(box=SIMPLE, title="PSNR in dB on luma, published protocol; *: used by auto", pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("for", no_wrap=True)
    for name in SETS:
        table.add_column(name, justify="right", no_wrap=True)
    for entry in entries:
        mark = " *" if entry.name in auto_models(entries, entry.scale) else ""
        figures = [f"{entry.psnr[name]:.2f}" if name in entry.psnr else "" for name in SETS]
        table.add_row(f"{entry.name} x{entry.scale}{mark}", _SHORT_PURPOSES[entry.degradation], *figures)
    return table


@app.command()
@guarded
def info(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|FILE",
            autocompletion=completion.models,
            help="Shipped model or checkpoint file to describe.",
        ),
    ],
    scale: ModelScale = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show the dimensions of the network, too.")
    ] = False,
    json: Json = False,
) -> None:
    """Describe a model: its network, and what a shipped one is for."""
    from dataclasses import asdict

    from esc_cli.checkpoints.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(model, scale)
    facts = {
        "name": checkpoint.name,
        "network": checkpoint.variant,
        "scale": checkpoint.scale,
        "parameters": sum(parameter.numel() for parameter in checkpoint.network.parameters()),
        "origin": checkpoint.origin,
    }
    if json:
        answer_json("model", **facts, config=asdict(checkpoint.config))
        return
    rows = {key: "any" if value is None else str(value) for key, value in facts.items()}
    rows["parameters"] = f"{facts['parameters']:,}"
    rows |= _card([entry for entry in read_manifest() if entry.name == checkpoint.name])
    if verbose:
        rows |= {key: str(value) for key, value in asdict(checkpoint.config).items() if key not in rows}
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for key, text in rows.items():
        table.add_row(key, Text(printable(text)))
    answer(table)


def _card(entries: Sequence[ModelEntry]) -> dict[str, str]:
    """Return what is known of a shipped model, in words.

    Args:
        entries: The model at each of its scales; none if it does not ship.
    """
    if not entries:
        return {}
    first = entries[0]
    card = {"for": PURPOSES[first.degradation], "scales": ", ".join(str(entry.scale) for entry in entries)}
    for entry in entries:
        card[f"PSNR x{entry.scale}"] = ", ".join(f"{name} {db:.2f} dB" for name, db in entry.psnr.items())
    card |= {"license": first.licence, "training data": first.training_data}
    return card | ({"teacher": first.teacher} if first.teacher else {})


@app.command()
@guarded
def average(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE...",
            autocompletion=completion.models,
            help="Models to average, all of one network.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="File to write, with the extension .safetensors."
        ),
    ],
    scale: ModelScale = None,
    overwrite: Overwrite = False,
) -> None:
    """Average the weights of several runs of one network that share a starting point."""
    from safetensors.torch import save

    from esc_cli.checkpoints.averaging import average_weights
    from esc_cli.checkpoints.checkpoint import load_checkpoint
    from esc_cli.storage.whole_files import write_whole

    if output.suffix.lower() != ".safetensors":
        raise UsageError(f"averaged weights must be written to a .safetensors file, not {str(output)!r}")
    state = average_weights([load_checkpoint(checkpoint, scale) for checkpoint in checkpoints])
    write_whole(output, save(state), replace=overwrite)


@app.command("verify")
@guarded
def verify_models() -> ExitCode:
    """Compare every shipped file with its digest."""
    entries = read_manifest()
    damaged = [error for entry in entries if (error := _damage(entry)) is not None]
    for error in damaged:
        say_error(error.message, error.hint)
    if damaged:
        return ExitCode.WEIGHTS
    answer(f"{len(entries)} models are intact")
    return ExitCode.OK


def _damage(entry: ModelEntry) -> WeightsError | None:
    try:
        verify(entry)
    except WeightsError as error:
        return error
    return None
