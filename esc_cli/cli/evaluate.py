"""``esc-upscale evaluate FOLDER``: measure PSNR and SSIM with the protocol of the papers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Degradation, Device, Json, Model, Scale, Tta
from esc_cli.cli.output import answer, answer_json, finite, printable, progress_bar

if TYPE_CHECKING:
    from esc_cli.evaluation.evaluate import Evaluation

app = new_application()


@app.command()
@guarded
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of high-resolution pictures, with subfolders.")],
    scale: Scale = None,
    model: Model = DEFAULT_MODEL,
    device: Device = "auto",
    tta: Tta = False,
    degradation: Degradation = "bicubic",
    json: Json = False,
) -> None:
    """Shrink each picture, enlarge it again, and measure PSNR and SSIM as in the papers.

    Low-resolution pictures are made by antialiased bicubic and rounded to 8 bits. Scores are computed on
    BT.601 luma, without a border of SCALE pixels. The network runs in float32. With another degradation, the
    figures are not comparable to those of papers. How a picture is degraded then depends only on its name.
    """
    from esc_cli.evaluation.evaluate import evaluate as evaluate_folder

    with progress_bar("evaluating") as progress:
        evaluation = evaluate_folder(
            folder,
            model,
            scale,
            device=device,
            tta=tta,
            degradation=degradation,
            progress=progress,
        )
    if json:
        answer_json("evaluation", **_facts(evaluation))
    else:
        answer(_table(evaluation))


def _facts(evaluation: "Evaluation") -> dict[str, Any]:
    """Return the JSON fields. The PSNR of a picture that is restored exactly is null."""
    return {
        "model": evaluation.model,
        "scale": evaluation.scale,
        "tta": evaluation.tta,
        "degradation": evaluation.degradation,
        "pictures": [
            {"name": score.name, "psnr": finite(score.psnr), "ssim": score.ssim}
            for score in evaluation.pictures
        ],
        "psnr": finite(evaluation.psnr),
        "ssim": evaluation.ssim,
    }


def _table(evaluation: "Evaluation") -> Table:
    how = ", self-ensemble" if evaluation.tta else ""
    if evaluation.degradation != "bicubic":
        how += f", {evaluation.degradation} degradation"
    table = Table("picture", title=Text(printable(f"{evaluation.model} x{evaluation.scale}{how}")))
    table.add_column("PSNR, dB", justify="right")
    table.add_column("SSIM", justify="right")
    for score in evaluation.pictures:
        table.add_row(Text(printable(score.name)), f"{score.psnr:.2f}", f"{score.ssim:.4f}")
    table.add_section()
    table.add_row("mean", f"{evaluation.psnr:.2f}", f"{evaluation.ssim:.4f}")
    return table
