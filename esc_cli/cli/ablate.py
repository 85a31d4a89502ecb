"""``esc-upscale ablate FOLDER``: measure what each part of ESC contributes."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from esc_cli.cli.application import new_application
from esc_cli.cli.guard import guarded
from esc_cli.cli.options import Device, Json, Overwrite, Quiet
from esc_cli.cli.output import answer, answer_json, stderr_console

if TYPE_CHECKING:
    from esc_cli.training.ablation import Trained

CURVE_POINTS = 4
"""Number of validation measurements in a run."""

app = new_application()


@app.command()
@guarded
def ablate(
    pictures: Annotated[Path, typer.Argument(help="Folder of high-resolution pictures to train on.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the runs. Existing runs are continued.")
    ],
    networks: Annotated[
        list[str] | None,
        typer.Option(
            "--network", "-n", help="Network to train. May be repeated. The default is all of them."
        ),
    ] = None,
    scale: Annotated[
        int, typer.Option("--scale", "-s", min=1, help="Factor that the networks enlarge by.")
    ] = 2,
    steps: Annotated[int, typer.Option(min=1, help="Length of each run in steps.")] = 1000,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of patches per step.")] = 1,
    patch_px: Annotated[int, typer.Option(min=1, help="Side of the low-resolution patches in pixels.")] = 64,
    validation_pictures: Annotated[
        int, typer.Option(min=1, help="Number of source pictures to hold out.")
    ] = 16,
    test: Annotated[
        Path | None, typer.Option(help="Folder of pictures to score on, as evaluate does.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png|.svg", help="Also draw the learning curves.")
    ] = None,
    overwrite: Overwrite = False,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train networks that differ from ESC in one part, with the same number of steps on the same patches.

    A patch of 64 pixels is one window of the network with the largest windows. If the paper has the same
    network, its figures are shown, too. They are for 500,000 steps.
    """
    from esc_cli.engine.device import choose_device
    from esc_cli.evaluation.figures import check_plot
    from esc_cli.training.ablation import ablate as run_ablation
    from esc_cli.training.ablation import draw_curves, known_networks
    from esc_cli.training.configuration import PRESETS

    if plot is not None:
        check_plot(plot, replace=overwrite, inputs=[pictures, test])
    config = dataclasses.replace(
        PRESETS["esc-x2"],
        scale=scale,
        steps=steps,
        minutes=None,
        batch_size=batch_size,
        patch_px=patch_px,
        validation_pictures=validation_pictures,
        validate_every=max(1, steps // CURVE_POINTS),
    )
    console = stderr_console()
    trained = run_ablation(
        networks or known_networks(),
        config,
        pictures,
        output,
        test=test,
        device=choose_device(device).device,
        announce=lambda name: None if quiet else console.print(name),
        quiet=quiet,
    )
    if json:
        answer_json("ablation", networks=[dataclasses.asdict(one) for one in trained])
    else:
        answer(_table(trained))
    if plot is not None:
        draw_curves(trained, plot)


def _table(trained: "tuple[Trained, ...]") -> Table:
    from esc_cli.networks.ablations import PUBLISHED

    table = Table(box=None, caption="dB: test pictures if given, otherwise held-out pictures; paper: Set5")
    table.add_column("network", no_wrap=True)
    for title in ("K", "G MACs", "ms", "MB", "dB", "paper dB", "ms"):
        table.add_column(title, justify="right")
    for one in trained:
        published = PUBLISHED.get(one.name)
        table.add_row(
            one.name,
            f"{one.parameters / 1e3:.0f}",
            f"{one.multiply_accumulates / 1e9:.1f}",
            f"{1e3 * one.latency_s:.0f}",
            "" if one.peak_bytes is None else f"{one.peak_bytes / 10**6:.0f}",
            f"{one.curve[-1][1] if one.psnr is None else one.psnr:.2f}",
            "" if published is None else f"{published.set5:.2f}",
            "" if published is None else f"{published.latency_ms:.1f}",
        )
    return table
