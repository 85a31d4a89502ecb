"""``esc-upscale INPUT...``: the main job."""

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli.guard import guarded
from esc_cli.cli.main import COMMANDS
from esc_cli.cli.options import Device, Json, Model, Quiet
from esc_cli.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from esc_cli.engine.upscaler import Upscaler
    from esc_cli.jobs.plan import Plan
    from esc_cli.jobs.upscale import EngineOptions

_EPILOG = "Commands: " + "; ".join(f"esc-upscale {name}: {text.lower()}" for name, text in COMMANDS.items())

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"esc-upscale {version('esc-upscale')}")
        raise typer.Exit


@app.command(epilog=_EPILOG)
@guarded
def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT...", help="Files, folders, patterns, or - for standard input."),
    ],
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="PATH", help="A file, a folder, or - for standard output."),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option("--scale", "-s", help="Any factor; 4, or that of the model. Above 4 it is repeated."),
    ] = None,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option("--precision", "-p", help="Of the network."),
    ] = "auto",
    tiling: Annotated[
        Literal["auto", "overlap", "none"],
        typer.Option(help="The whole picture at once (none), in tiles (overlap), or what fits (auto)."),
    ] = "auto",
    tile: Annotated[int | None, typer.Option(metavar="PX", help="Side of the tiles, input pixels.")] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="PX", help="How far tiles overlap, input pixels.")
    ] = None,
    format: Annotated[
        str | None,
        typer.Option("--format", "-f", metavar="EXT", help="png, jpg, webp, tiff, bmp or avif."),
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", "-q", min=1, max=100, help="Of lossy formats.")
    ] = None,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into sub-folders; the result mirrors them.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave results that are there.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and stop.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say how it is done, too.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which, and stop.")
    ] = False,
) -> None:
    """Make pictures larger and better.

    Results lie beside the inputs: photo.png gives photo_x4.png, a folder gives folder_x4.
    """
    if json and output == "-":
        raise UsageError("--json and the picture cannot both go to standard output")
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other")
    from esc_cli.cli.output import Reporter
    from esc_cli.jobs.plan import make_plan
    from esc_cli.jobs.run import announce, run_plan
    from esc_cli.jobs.upscale import EngineOptions, choose_scale, make_upscaler

    options = EngineOptions(model, device, precision, tiling, tile, overlap)
    factor = choose_scale(model, scale)
    plan = make_plan(
        inputs,
        scale=factor,
        output=output,
        extension=format,
        recursive=recursive,
        when_there="overwrite" if overwrite else "skip" if skip_existing else "refuse",
    )
    _refuse_terminal(plan)
    with Reporter(json=json, quiet=quiet, show_plan=dry_run) as reporter:
        announce(plan, reporter)
        failures = plan.failures
        if not dry_run:
            upscaler = make_upscaler(options, factor)
            reporter.say(_engine_line(options, upscaler))
            failures = run_plan(plan, upscaler, reporter, quality=quality)
    if failures:
        only_one = plan.named_one_file
        raise SystemExit(int(failures[0].error.exit_code if only_one else ExitCode.SOME_FAILED))


def _refuse_terminal(plan: "Plan") -> None:
    if sys.stdout.isatty() and any(task.target is None for task in plan.tasks):
        raise UsageError("a picture is not written to a terminal", hint="name a file with -o, or redirect")


def _engine_line(options: "EngineOptions", upscaler: "Upscaler") -> str:
    passes = " then ".join(f"x{scale}" for scale in upscaler.passes)
    precision = str(upscaler.precision).removeprefix("torch.")
    return (
        f"{options.model} {passes} on {upscaler.device} ({upscaler.device_reason}), "
        f"in {precision} ({upscaler.precision_reason})"
    )
