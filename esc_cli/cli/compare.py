"""``esc-upscale compare PICTURE``: show the results of several models on one sheet."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli import completion
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Degradation, Device, Json, Overwrite
from esc_cli.cli.output import answer, answer_json, finite, printable, stderr_console

if TYPE_CHECKING:
    from esc_cli.evaluation.comparison import Column, Comparison

app = new_application()


@app.command()
@guarded
def compare(
    picture: Annotated[
        Path, typer.Argument(help="Picture to enlarge. Transparent parts are shown on white.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="File to write the sheet to.")
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|FILE",
            autocompletion=completion.models,
            help="Model to compare. May be repeated.",
        ),
    ] = None,
    scale: Annotated[
        int, typer.Option("--scale", "-s", min=2, help="Factor that all models enlarge by.")
    ] = 4,
    original: Annotated[
        Path | None,
        typer.Option(metavar="PICTURE", help="Original picture. PSNR compares the results with it."),
    ] = None,
    shrink: Annotated[
        bool,
        typer.Option(
            "--shrink", help="Treat the picture as the original: shrink it first, as evaluate does."
        ),
    ] = False,
    degradation: Degradation = "bicubic",
    crop: Annotated[
        list[str] | None,
        typer.Option(
            metavar="Y,X,H,W", help="Part of the picture to show, in pixels of the picture. May be repeated."
        ),
    ] = None,
    crops: Annotated[int, typer.Option(min=1, help="Number of crops to choose if no --crop is given.")] = 3,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Show crops of a picture side by side: enlarged by bicubic, enlarged by each model, and the original.

    Each row shows one place: the places with the most detail, or those given with --crop. If the original is
    known, the PSNR on luma is written below each crop.
    """
    from esc_cli.storage.whole_files import check_target, write_whole

    check_target(output, replace=overwrite, inputs=[picture, original])
    from esc_cli.evaluation.comparison import compare as compare_models
    from esc_cli.evaluation.windows import Window
    from esc_cli.media.formats.registry import format_named
    from esc_cli.media.picture import PictureFile
    from esc_cli.media.write import encode_file

    format = format_named(output.suffix or output.name)
    console = stderr_console()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("comparing", total=None)
        comparison = compare_models(
            picture,
            model or [DEFAULT_MODEL],
            scale,
            original=original,
            shrink=shrink,
            degradation=degradation,
            windows=[Window.parse(text) for text in crop or ()],
            count=crops,
            device=device,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    content = encode_file(PictureFile((comparison.sheet(),)), format)
    write_whole(output, content, replace=overwrite)
    if json:
        answer_json("comparison", sheet=str(output), **_facts(comparison))
    else:
        answer(_table(comparison, picture.name) if comparison.original else str(output))


def _facts(comparison: "Comparison") -> dict[str, Any]:
    """Return the JSON fields. The PSNR is null if the result equals the original, or if there is none."""
    return {
        "scale": comparison.scale,
        "crops": [[window.top, window.left, window.height, window.width] for window in comparison.windows],
        "models": [
            {
                "name": column.name,
                "model": column.model,
                "psnr": finite(column.psnr),
                "crop_psnr": [finite(score) for score in column.crop_psnrs],
            }
            for column in comparison.models
        ],
    }


def _table(comparison: "Comparison", name: str) -> Table:
    table = Table("crop", title=Text(printable(f"{name} x{comparison.scale}, PSNR in dB")))
    for column in comparison.models:
        table.add_column(Text(printable(column.title)), justify="right")
    for number, window in enumerate(comparison.windows):
        table.add_row(str(window), *(_score(column, number) for column in comparison.models))
    table.add_section()
    table.add_row("whole", *(_score(column) for column in comparison.models))
    return table


def _score(column: "Column", number: int | None = None) -> str:
    return f"{column.psnr if number is None else column.crop_psnrs[number]:.2f}"
