"""``esc-upscale INPUT...``: the main job."""

import sys
from typing import Annotated, Literal

import typer

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli.guard import guarded
from esc_cli.cli.main import COMMANDS
from esc_cli.cli.options import Device, Json, Model, Quiet
from esc_cli.cli.output import Reporter, answer
from esc_cli.errors import ExitCode, UsageError
from esc_cli.jobs.streams import STDIN

_EPILOG = "\n\n".join(
    ("Other commands:", *(f"esc-upscale {name}  -  {text}" for name, text in COMMANDS.items()))
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("esc-upscale")
        except PackageNotFoundError:
            number = "(not installed: running from its source)"
        answer(f"esc-upscale {number}")
        raise typer.Exit


@app.command(epilog=_EPILOG)
@guarded
def upscale(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="INPUT", help="Files, folders, patterns, or - for standard input."),
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
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Say what becomes of each input, and why on this device.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which, and stop.")
    ] = False,
) -> ExitCode:
    """Make pictures larger and better.

    Results lie beside the inputs: photo.png gives photo_x4.png, a folder gives folder_x4.
    """
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other")
    _check_streams(inputs, output, json=json, dry_run=dry_run)
    from esc_cli.jobs.plan import plan_names
    from esc_cli.jobs.run import announce, exit_code, run_plan
    from esc_cli.jobs.upscale import make_upscaler

    with Reporter(json=json, quiet=quiet, verbose=verbose, dry_run=dry_run) as reporter:
        upscaler, factor = make_upscaler(
            scale,
            model=model,
            device=device,
            precision=precision,
            tiling=tiling,
            tile_px=tile,
            overlap_px=overlap,
        )
        plan = plan_names(
            inputs,
            scale=factor,
            output=output,
            extension=format,
            recursive=recursive,
            when_there="overwrite" if overwrite else "skip" if skip_existing else "refuse",
        )
        announce(plan, reporter)
        if dry_run:
            return exit_code(plan, plan.failures)
        if plan.tasks:
            reporter.say_engine(model, upscaler)
        return exit_code(plan, run_plan(plan, upscaler, reporter, quality=quality))


def _check_streams(inputs: list[str], output: str | None, *, json: bool, dry_run: bool) -> None:
    """Refuse what standard input and output cannot do."""
    from esc_cli.jobs.naming import goes_to_stdout

    if STDIN in inputs and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError("a picture cannot be typed", hint="pipe one into standard input, or name a file")
    if not goes_to_stdout(inputs, output):
        return
    if json:
        raise UsageError(
            "--json and the picture cannot both go to standard output", hint="name a file with -o"
        )
    if not dry_run and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a picture is not written to a terminal", hint="name a file with -o, or redirect")
