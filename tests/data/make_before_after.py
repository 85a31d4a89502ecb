"""Make ``before-after.png``: a part of ``sample.png``, enlarged in two ways.

The left half is bicubic, and the right half is the result of the default model.
"""

from pathlib import Path

from PIL import Image

from esc_cli import upscale

FOLDER = Path(__file__).parent
SCALE = 4
PART = (10, 44, 100, 144)
"""Left, top, right and bottom of the part, in pixels of the sample."""
GAP = 8


def make_before_after() -> Image.Image:
    """Place both results side by side."""
    sample = Image.open(FOLDER / "sample.png").convert("RGB")
    part = tuple(SCALE * edge for edge in PART)
    bicubic = sample.resize((SCALE * sample.width, SCALE * sample.height), Image.Resampling.BICUBIC).crop(
        part
    )
    ours = upscale(sample, scale=SCALE).crop(part)
    both = Image.new("RGB", (bicubic.width + GAP + ours.width, ours.height), "white")
    both.paste(bicubic, (0, 0))
    both.paste(ours, (bicubic.width + GAP, 0))
    return both


if __name__ == "__main__":
    make_before_after().save(FOLDER / "before-after.png", optimize=True)
