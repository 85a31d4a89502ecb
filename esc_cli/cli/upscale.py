"""``esc-upscale INPUT...``: upscale pictures and clips.

Most parameters of ``upscale`` are fields of ``Options`` with the same names, and are passed on as they are.
The others, such as ``--watch`` and ``--json``, belong to this command.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.cli import completion
from esc_cli.cli.application import in_panels, new_application
from esc_cli.cli.configuration import ConfiguredCommand, says_origins
from esc_cli.cli.guard import guarded
from esc_cli.cli.log_file import LogFile
from esc_cli.cli.main import COMMANDS
from esc_cli.cli.options import (
    PRECISIONS,
    Config,
    Device,
    InstallCompletion,
    Json,
    NoConfig,
    PrintConfig,
    Quiet,
    ShowCompletion,
    Tta,
    Use,
    Version,
    read_factor,
    read_precision,
    read_runtime,
)
from esc_cli.cli.report import ReportPage, refuse_report
from esc_cli.cli.reporter import Reporter
from esc_cli.engine.borders import Seamless
from esc_cli.engine.executors.registry import AUTO, REQUESTS
from esc_cli.enhancement.options import Alpha
from esc_cli.errors import ExitCode, UsageError
from esc_cli.jobs.previews.request import AUTO_PREVIEW
from esc_cli.jobs.streams import STDIN
from esc_cli.media.metadata.kinds import OPTIONS as METADATA
from esc_cli.media.video.encode_settings import rival_of_crf

if TYPE_CHECKING:
    from esc_cli.jobs.plan import Plan

_EXAMPLES = {
    "esc-upscale photo.jpg": "Make photo_x4.jpg.",
    "esc-upscale photo.jpg -s 2 -o big.png": "Make it twice as large, as a PNG.",
    "esc-upscale holiday -r": "Upscale a folder with its subfolders to holiday_x4.",
    "esc-upscale clip.mp4 -s 2": "Make clip_x2.mp4.",
}

_COMMANDS = {
    **{f"esc-upscale {name}": f"{text[0].upper()}{text[1:]}." for name, text in COMMANDS.items()},
    "esc-upscale help COMMAND": "Show the help of a command.",
}

_PANELS = {
    "output": "Main options",
    "format": "Results",
    "name": "Folders and batches",
    "device": "Device and speed",
    "video_codec": "Clips",
    "use": "Configuration",
    "json": "Messages",
}
"""The panels of the help, each by the parameter whose option is the first in it."""

app = new_application()


def _displaced(given: Mapping[str, Any]) -> Iterator[str]:
    """Yield the options that contradict the given ones, and so are not taken from farther places."""
    for pair in (("scale", "size"), ("overwrite", "skip_existing")):
        for name, other in (pair, pair[::-1]):
            if given.get(name):
                yield other
    if any(rival_of_crf(*text.partition("=")[::2]) for text in given.get("codec_options") or ()):
        yield "crf"
    if given.get("output"):
        from esc_cli.jobs.naming import names_format

        if names_format(given["output"]):
            yield from ("format", "name")
        elif given["output"] == "-":
            yield "name"


def _refuse_contradictions(options: Mapping[str, Any]) -> None:
    """Refuse options that contradict each other.

    Raises:
        UsageError: Two options contradict each other.
    """
    if options["overwrite"] and options["skip_existing"]:
        raise UsageError("--overwrite and --skip-existing contradict each other")
    if options["scale"] and options["size"]:
        raise UsageError("a scale and a size cannot be used together", hint="use -s or --size")


@app.command(
    cls=in_panels(
        _PANELS,
        {"Examples": _EXAMPLES, "Other commands": _COMMANDS},
        ConfiguredCommand,
        displaced=staticmethod(_displaced),
        refuse=staticmethod(_refuse_contradictions),
    )
)
@guarded
@says_origins
def upscale(
    context: typer.Context,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="INPUT", help="Files, folders or patterns to enlarge, or - for standard input."
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            allow_from_autoenv=False,
            help="File or folder to write to, or - for standard output.",
        ),
    ] = None,
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            "-s",
            metavar="FACTOR",
            parser=read_factor,
            help="Factor to enlarge by, such as 2 or 1.5. The default is 4, or the scale of the model. Above "
            "4 the network runs more than once.",
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="GEOMETRY",
            help="Size of the result instead of a factor: 1920x, x1080, 1920x1080 (fits inside) or 50%, with "
            "> < ^ ! as in ImageMagick.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            autocompletion=completion.models,
            help="Model to use: auto, a shipped model, the file of a checkpoint, nearest or bicubic. "
            "auto chooses a suitable model for each picture.",
        ),
    ] = AUTO_MODEL,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="EXT",
            autocompletion=completion.formats,
            help="Format of the results, such as png, webp or mkv. The default is that of each input.",
        ),
    ] = None,
    quality: Annotated[
        int | None, typer.Option("--quality", "-q", min=1, max=100, help="Quality of lossy formats.")
    ] = None,
    metadata: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            autocompletion=completion.one_of("all", "none", *METADATA),
            help=f"Metadata to keep: all, none, or a list of {','.join(METADATA)}.",
        ),
    ] = "all",
    damaged: Annotated[
        Literal["auto", "keep", "refuse"],
        typer.Option(
            help="What to do with damaged inputs: enlarge what can be read (keep), or refuse them. auto "
            "refuses pictures, but repeats the last good frame of a clip where frames are damaged, and keeps "
            "damaged pages of an archive as they are."
        ),
    ] = "auto",
    keep_dates: Annotated[
        bool, typer.Option("--keep-dates", help="Give results the modification time of their inputs.")
    ] = False,
    tta: Tta = False,
    consistency: Annotated[
        bool,
        typer.Option(
            "--consistency", help="Correct the result until it gives the input when it is shrunk again."
        ),
    ] = False,
    seamless: Annotated[
        Seamless | None,
        typer.Option(
            help="Borders that wrap: x (left and right), y (top and bottom) or xy, for textures and "
            "panoramas. The result wraps, too."
        ),
    ] = None,
    alpha: Annotated[
        Alpha,
        typer.Option(
            help="What alpha means. With data, as in textures of games, colors are enlarged as they are, "
            "also where alpha is 0."
        ),
    ] = "opacity",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Name of each result, such as {stem}_{scale}x. The fields are {stem}, {scale}, {width}, "
            "{height} and {model}. The extension is added.",
        ),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option(
            "--in-place",
            allow_from_autoenv=False,
            help="Replace the inputs by their results. Needs --backup or --yes.",
        ),
    ] = False,
    backup: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder that keeps the originals of inputs that are replaced."),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", allow_from_autoenv=False, help="Replace inputs without a backup.")
    ] = False,
    files_from: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            allow_from_autoenv=False,
            help="Also enlarge the files that a list names, one a line or separated by NUL. - is standard "
            "input. In a folder named with -o, the results keep the folders of the names.",
        ),
    ] = None,
    recursive: Annotated[
        bool,
        typer.Option("--recursive", "-r", help="Include subfolders. The results keep the folder structure."),
    ] = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Process only one share of the inputs: 2/8 is the second of eight."),
    ] = None,
    max_megapixels: Annotated[
        float | None,
        typer.Option(metavar="MP", help="Refuse inputs with more megapixels. The default is 500."),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            allow_from_autoenv=False,
            help="Wait for further files in the folders, until Ctrl-C.",
        ),
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Keep existing results, and skip their inputs.")
    ] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first failure.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", allow_from_autoenv=False, help="Show what would be done and exit."),
    ] = False,
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            "--precision",
            "-p",
            metavar="<auto|float32|bfloat16|float16>",
            parser=read_precision,
            autocompletion=completion.one_of(*PRECISIONS),
            help="Number format that the network computes in.",
        ),
    ] = "auto",
    tiling: Annotated[
        Literal["auto", "exact", "overlap", "none"],
        typer.Option(
            help="How a large picture is divided: not at all (none), into strips with the same result "
            "(exact), or into overlapping tiles (overlap). auto uses the best that fits in memory."
        ),
    ] = "auto",
    tile_px: Annotated[
        int | None, typer.Option("--tile", metavar="PX", help="Side of the tiles in input pixels.")
    ] = None,
    overlap_px: Annotated[
        int | None, typer.Option("--overlap", metavar="PX", help="Overlap of the tiles in input pixels.")
    ] = None,
    attention: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            autocompletion=completion.attention,
            help="How attention is computed: auto, naive, sdpa, blocked, flex or flash.",
        ),
    ] = "auto",
    runtime: Annotated[
        str,
        typer.Option(
            metavar=f"<{'|'.join(REQUESTS)}>",
            parser=read_runtime,
            autocompletion=completion.one_of(*REQUESTS),
            help="Runtime of the network. auto uses another one than torch if that saves time.",
        ),
    ] = AUTO,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="Ray cluster that does the work: local for all GPUs or cores of this machine, auto for the "
            "cluster that this machine belongs to, or ray://HOST:PORT.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option("--jobs", "-j", min=1, metavar="N", help="Number of threads that read and write."),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of threads that run the network on the CPU. The default is one per core.",
        ),
    ] = None,
    nice: Annotated[
        int | None,
        typer.Option(
            min=0, max=19, metavar="N", help="Let other programs run first: 19 yields most. Not on Windows."
        ),
    ] = None,
    retune: Annotated[
        bool,
        typer.Option(
            "--retune",
            allow_from_autoenv=False,
            help="Measure anew how the network runs fastest on this machine.",
        ),
    ] = False,
    video_codec: Annotated[
        str | None, typer.Option(metavar="NAME", help="Encoder to use, such as libx265.")
    ] = None,
    crf: Annotated[
        float | None,
        typer.Option(metavar="N", help="Constant quality of the encoder. Lower is better."),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Preset of the encoder, such as slow.")
    ] = None,
    pixel_format: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Pixel format, such as yuv444p. The default is that of the source."
        ),
    ] = None,
    codec_options: Annotated[
        list[str] | None,
        typer.Option(
            "--codec-option", metavar="NAME=VALUE", help="Further option of the encoder. May be repeated."
        ),
    ] = None,
    audio: Annotated[
        Literal["auto", "copy", "none"],
        typer.Option(
            help="What happens to sound. auto copies it where the container of the result holds it, and "
            "converts the rest. copy leaves out what cannot be copied."
        ),
    ] = "auto",
    deinterlace: Annotated[
        bool, typer.Option("--deinterlace", help="Turn interlaced frames into progressive ones.")
    ] = False,
    start: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start time, in seconds or as HH:MM:SS.")
    ] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="End time, in the same format.")] = None,
    preview: Annotated[
        str | None,
        typer.Option(
            metavar="WHAT",
            autocompletion=completion.one_of(AUTO_PREVIEW),
            help="Show a sheet in seconds instead of making each result: N frames of a clip, or the N parts "
            "of a picture with the most detail, beside bicubic. auto shows 9 frames or 1 part, and X,Y or "
            "X,Y,W,H that part of a picture. With -o NAME.html it is a page for a browser. Parts differ from "
            "the result by less than half a step of 8 bits in 99 % of the values. With --tiling exact they "
            "are equal, and take as long as the whole.",
        ),
    ] = None,
    fps: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Frames per second of an image sequence, such as in/%06d.png."),
    ] = None,
    use: Use = None,
    config: Config = None,
    no_config: NoConfig = False,
    print_config: PrintConfig = False,
    json: Json = False,
    quiet: Quiet = False,
    log_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Also append all messages to a file, with their times, or all events if its name ends in "
            ".jsonl.",
        ),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            allow_from_autoenv=False,
            help="Write a page for a browser at the end, with all pictures, and what became of each.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show how each input is processed, and why.")
    ] = False,
    version: Version = False,
    install_completion: InstallCompletion = False,
    show_completion: ShowCompletion = False,
) -> ExitCode:
    """Make pictures and clips larger and better.

    Results go beside the inputs: photo.png becomes photo_x4.png, and a folder becomes folder_x4. Results
    that are up to date are kept, so an interrupted run continues when it is started again.
    """
    inputs = inputs or []
    _refuse_contradictions(context.params)
    _check_streams(inputs, output, json=json, dry_run=dry_run)
    refuse_report(report, inputs, output, dry_run=dry_run, watch=watch)
    from esc_cli.jobs.early import refuse_early, refuse_watch
    from esc_cli.jobs.niceness import be_nice
    from esc_cli.jobs.options import Options

    options = {name: value for name, value in context.params.items() if name in Options.names()}
    if overwrite or skip_existing:
        options["when_there"] = "overwrite" if overwrite else "skip"
    with LogFile(log_file) as log:
        chosen = Options.of(options)
        with (
            ReportPage(report, inputs, output, chosen, is_silent=quiet or json) as page,
            Reporter(json=json, quiet=quiet, verbose=verbose, dry_run=dry_run, log=log) as reporter,
        ):
            reporter.note(be_nice(nice))
            if watch:
                refuse_watch(inputs, output, chosen, dry_run=dry_run)
            refuse_early(inputs, output, chosen, inputs_too=not (json or dry_run or report))
            if watch:
                from esc_cli.jobs.watch import watch_folders

                return watch_folders(inputs, output, chosen, reporter)
            from esc_cli.jobs.upscale import upscale_files

            listener = page.beside(reporter)
            outcome = upscale_files(inputs, output, listener=listener, dry_run=dry_run, **options)
            reporter.note(_empty_shard(shard, outcome.plan))
    return outcome.exit_code


def _empty_shard(shard: str | None, plan: "Plan") -> str | None:
    """Return a note if nothing was to be done because no input belongs to the shard."""
    if shard is None or plan.tasks or plan.up_to_date or plan.skipped or plan.failures:
        return None
    return f"no input belongs to the shard {shard}"


def _check_streams(inputs: list[str], output: str | None, *, json: bool, dry_run: bool) -> None:
    """Raise an error for requests that standard input or standard output cannot fulfill."""
    from esc_cli.jobs.naming import goes_to_stdout

    if STDIN in inputs and sys.stdin is not None and sys.stdin.isatty():
        raise UsageError(
            "a picture cannot be read from a terminal", hint="pipe one into standard input, or name a file"
        )
    if not goes_to_stdout(inputs, output):
        return
    if json:
        raise UsageError(
            "--json and the picture cannot both go to standard output", hint="name a file with -o"
        )
    if not dry_run and sys.stdout is not None and sys.stdout.isatty():
        raise UsageError("a picture cannot be written to a terminal", hint="name a file with -o, or redirect")
