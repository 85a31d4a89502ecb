"""Make ``wild.png``: the sample, degraded as in the wild, and the results of several models."""

import tempfile
from pathlib import Path

from make_sample import make_sample
from PIL import Image

from esc_cli.evaluation.comparison import compare
from esc_cli.evaluation.windows import Window

FOLDER = Path(__file__).parent
SCALE = 4
MODELS = ("esc", "esc-light-robust", "esc-real")
HOUSE = Window(200, 60, 160, 160)
LETTERS = Window(416, 420, 160, 160)


def make_wild() -> Image.Image:
    """Draw the original, degrade it, restore it, and put all pictures on one sheet."""
    with tempfile.TemporaryDirectory() as folder:
        original = Path(folder, "sample.png")
        make_sample(SCALE).save(original)
        comparison = compare(
            original, MODELS, SCALE, shrink=True, degradation="real", windows=[HOUSE, LETTERS]
        )
    return Image.fromarray(comparison.sheet().color[0].permute(1, 2, 0).numpy())


if __name__ == "__main__":
    make_wild().save(FOLDER / "wild.png", optimize=True)
