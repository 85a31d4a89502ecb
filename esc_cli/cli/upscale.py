"""``esc-upscale INPUT...``: the main job."""

import sys
from typing import Annotated, Literal

import typer

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.cli.guard import guarded
from esc_cli.cli.main import COMMANDS
from esc_cli.cli.options import Device, Json, Quiet, Tta
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
    size: Annotated[
        str | None,
        typer.Option(
            metavar="GEOMETRY",
            help="Instead of a factor: 1920x, x1080, 1920x1080 (fits inside), 50%; with > < ^ !.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            help="auto: for each picture the model for what it is. Or a shipped model, any ESC checkpoint "
            "file, or the stand-ins nearest and bicubic.",
        ),
    ] = AUTO_MODEL,
    device: Device = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option("--precision", "-p", help="Of the network."),
    ] = "auto",
    tiling: Annotated[
        Literal["auto", "exact", "overlap", "none"],
        typer.Option(
            help="At once (none), in strips with the same result (exact), in tiles (overlap), or the best "
            "that fits in memory (auto)."
        ),
    ] = "auto",
    tile: Annotated[int | None, typer.Option(metavar="PX", help="Side of the tiles, input pixels.")] = None,
    overlap: Annotated[
        int | None, typer.Option(metavar="PX", help="How far tiles overlap, input pixels.")
    ] = None,
    attention: Annotated[
        str, typer.Option(metavar="NAME", help="Of the attention: auto, naive, sdpa, blocked, flex, flash.")
    ] = "auto",
    runtime: Annotated[
        Literal["auto", "torch", "openvino"],
        typer.Option(help="What runs the network; auto: OpenVINO where it is installed and its start pays."),
    ] = "auto",
    tta: Tta = False,
    consistency: Annotated[
        bool, typer.Option("--consistency", help="Correct the result until, made small, it is the input.")
    ] = False,
    format: Annotated[
        str | None,
        typer.Option(
            "--format", "-f", metavar="EXT", help="png, jpg, webp, tiff, gif, avif, bmp, heic or jxl."
        ),
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", "-q", min=1, max=100, help="Of lossy formats.")
    ] = None,
    metadata: Annotated[
        str,
        typer.Option(
            metavar="LIST", help="What to keep: all, none, or of exif,icc,xmp,iptc,dpi,text,comment."
        ),
    ] = "all",
    recursive: Annotated[
        bool, typer.Option("--recursive", "-r", help="Look into sub-folders; the result mirrors them.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, metavar="N", help="Threads that read and write.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Do only one share of the inputs, such as 2/8.")
    ] = None,
    max_megapixels: Annotated[
        float | None, typer.Option(metavar="MP", help="Refuse larger inputs; 500.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave results that are there.")
    ] = False,
    video_codec: Annotated[
        str | None, typer.Option(metavar="NAME", help="Clips: an encoder of FFmpeg, such as libx265.")
    ] = None,
    crf: Annotated[
        float | None, typer.Option(metavar="N", help="Clips: constant quality; less is better.")
    ] = None,
    preset: Annotated[str | None, typer.Option(metavar="NAME", help="Clips: of the encoder.")] = None,
    pixel_format: Annotated[
        str | None, typer.Option(metavar="NAME", help="Clips: such as yuv444p; that of the source.")
    ] = None,
    codec_option: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Clips: of the encoder; repeatable.")
    ] = None,
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="Clips: make interlaced frames whole.")
    ] = False,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Clips: begin at seconds, or HH:MM:SS.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="Clips: end there.")] = None,
    preview: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Clips: N frames on one picture instead.")
    ] = None,
    fps: Annotated[
        str | None, typer.Option(metavar="RATE", help="Frames a second of numbered pictures (%06d.png).")
    ] = None,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="End at the first failure.")] = False,
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
    """Make pictures and clips larger and better.

    Results lie beside the inputs: photo.png gives photo_x4.png, a folder gives folder_x4. Those of folders
    and lists that are up to date are left alone, so that a run which was ended can be started again.
    """
    if overwrite and skip_existing:
        raise UsageError("--overwrite and --skip-existing contradict each other")
    _check_streams(inputs, output, json=json, dry_run=dry_run)
    from esc_cli.jobs.upscale import upscale_files

    with Reporter(json=json, quiet=quiet, verbose=verbose, dry_run=dry_run) as reporter:
        return upscale_files(
            inputs,
            output,
            listener=reporter,
            dry_run=dry_run,
            scale=scale,
            size=size,
            model=model,
            device=device,
            precision=precision,
            tiling=tiling,
            tile_px=tile,
            overlap_px=overlap,
            attention=attention,
            runtime=runtime,
            tta=tta,
            consistency=consistency,
            format=format,
            quality=quality,
            metadata=metadata,
            recursive=recursive,
            workers=jobs,
            shard=shard,
            max_megapixels=max_megapixels,
            when_there="overwrite" if overwrite else "skip" if skip_existing else "refuse",
            fail_fast=fail_fast,
            video_codec=video_codec,
            crf=crf,
            preset=preset,
            pixel_format=pixel_format,
            codec_options=codec_option or (),
            deinterlace=deinterlace,
            start=start,
            end=end,
            preview=preview,
            fps=fps,
        ).exit_code


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
