"""``esc-upscale analyze``: measure what a network attends to."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from esc_cli.checkpoints.manifest import DEFAULT_MODEL
from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Device, Json, Model, Overwrite, Scale
from esc_cli.cli.output import answer, answer_json, printable, progress_bar
from esc_cli.errors import UsageError

if TYPE_CHECKING:
    from esc_cli.analysis.attribution import Attribution
    from esc_cli.analysis.similarity import LayerPair, Similarity

app = new_application(
    help="Measure what a network attends to.",
)

Low = Annotated[
    bool,
    typer.Option(
        "--low", help="Use the pictures as they are. By default they are originals and are shrunk first."
    ),
]
Plot = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE.png|.svg", help="Also draw the result.")
]


@app.command("similarity")
@guarded
def similarity(
    folder: Annotated[Path, typer.Argument(help="Folder of four or more pictures, with subfolders.")],
    model: Model = DEFAULT_MODEL,
    scale: Scale = None,
    low: Low = False,
    device: Device = "auto",
    json: Json = False,
    output: Plot = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure how similar each attention layer is to the next one.

    CKA compares the outputs of the layers over the pictures, all cropped to the size that they have in
    common. With few pictures, CKA is near 1 for any layers; debiased CKA is not. The cosine compares the
    attention maps, averaged over heads, windows and pictures. It is near 1 for any maps that are nearly
    uniform; the correlation is not.
    """
    from esc_cli.analysis.drawing import draw_similarity
    from esc_cli.analysis.similarity import similarity as measure
    from esc_cli.evaluation.figures import check_plot

    if output is not None:
        check_plot(output, replace=overwrite, inputs=[folder])
    with progress_bar("running") as progress:
        found = measure(folder, model, scale, is_low=low, device=device, progress=progress)
    if json:
        answer_json("similarity", **_similarity_facts(found))
    else:
        answer(_similarity_table(found))
    if output is not None:
        draw_similarity(found, output)


@app.command("attribution")
@guarded
def attribution(
    picture: Annotated[
        Path, typer.Argument(help="Picture to analyze. It is an original and is shrunk first.")
    ],
    model: Model = DEFAULT_MODEL,
    scale: Scale = None,
    window: Annotated[
        str | None,
        typer.Option(
            metavar="Y,X", help="Top and left of the window in the result. The default is the middle."
        ),
    ] = None,
    window_px: Annotated[int, typer.Option(min=1, help="Side of the window in pixels of the result.")] = 16,
    crop_px: Annotated[
        int,
        typer.Option(min=1, help="Side of the network's input around the window, in low-resolution pixels."),
    ] = 64,
    low: Low = False,
    device: Device = "auto",
    json: Json = False,
    output: Plot = None,
    overwrite: Overwrite = False,
) -> None:
    """Compute which pixels a window of the result depends on: the local attribution map.

    The diffusion index says how evenly all pixels of the input are involved, from 0 to 100. The reach is the
    distance from the window within which a share of the attribution lies, in low-resolution pixels.
    """
    from esc_cli.analysis.attribution import attribution as compute
    from esc_cli.analysis.drawing import draw_attribution
    from esc_cli.evaluation.figures import check_plot

    if output is not None:
        check_plot(output, replace=overwrite, inputs=[picture])
    position = None if window is None else _position(window)
    with progress_bar("following the gradients") as progress:
        found = compute(
            picture,
            model,
            scale,
            position=position,
            window_px=window_px,
            crop_px=crop_px,
            is_low=low,
            device=device,
            progress=progress,
        )
    if json:
        answer_json("attribution", **_attribution_facts(found))
    else:
        answer(_attribution_table(found))
    if output is not None:
        draw_attribution(found, output)


def _position(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6}),(\d{1,6})", text)
    if match is None:
        raise UsageError(f"{text!r} is not a position", hint="use TOP,LEFT in pixels of the result")
    return int(match[1]), int(match[2])


def _similarity_facts(found: "Similarity") -> dict[str, Any]:
    return asdict(found) | {
        "cka": found.cka,
        "debiased_cka": found.debiased_cka,
        "cosine": found.cosine,
        "correlation": found.correlation,
    }


def _similarity_table(found: "Similarity") -> Table:
    title = f"{found.model} x{found.scale}, {found.pictures} pictures of {found.height}x{found.width}"
    table = Table("layer", "next layer", title=Text(printable(title)))
    for name in ("CKA", "debiased", "map cosine", "correlation"):
        table.add_column(name, justify="right")
    for pair in found.pairs:
        table.add_row(pair.first, pair.second, *_figures(pair))
    table.add_section()
    table.add_row("mean", "", *_figures(found))
    return table


def _figures(of: "LayerPair | Similarity") -> list[str]:
    return [f"{number:.3f}" for number in (of.cka, of.debiased_cka, of.cosine, of.correlation)]


def _attribution_facts(found: "Attribution") -> dict[str, Any]:
    from esc_cli.analysis.attribution import SHARES

    height, width = found.map.shape
    return {
        "model": found.model,
        "scale": found.scale,
        "height": height,
        "width": width,
        "window": asdict(found.window),
        "diffusion_index": found.diffusion_index,
        "reach": [{"share": share, "px": found.reach_px(share)} for share in SHARES],
    }


def _attribution_table(found: "Attribution") -> Table:
    from esc_cli.analysis.attribution import SHARES

    height, width = found.map.shape
    title = f"{found.model} x{found.scale} on {height}x{width}"
    table = Table(show_header=False, title=Text(printable(title)))
    table.add_row("diffusion index", f"{found.diffusion_index:.2f}")
    for share in SHARES:
        table.add_row(f"{share:.0%} of the attribution within", f"{found.reach_px(share):.1f} px")
    return table
