"""Learning curves as a picture. Needs matplotlib, which is optional."""

from collections.abc import Sequence
from pathlib import Path

from esc_cli.evaluation.figures import saved_figure
from esc_cli.training.ablation import Trained


def draw_curves(trained: Sequence[Trained], path: Path) -> None:
    """Draw the PSNR on the held-out pictures over the steps, a line for each network.

    Args:
        trained: The networks.
        path: A .png or .svg file; replaced if it is there.

    Raises:
        UsageError: As for ``check_plot``.
        OutputError: It cannot be written.
    """
    with saved_figure(path, (8, 5)) as figure:
        axes = figure.subplots()
        for one in trained:
            steps, psnr = zip(*one.curve, strict=True)
            axes.plot(steps, psnr, label=one.name)
        axes.set_xlabel("steps")
        axes.set_ylabel("PSNR on the held-out pictures, dB")
        axes.legend(fontsize=8)
