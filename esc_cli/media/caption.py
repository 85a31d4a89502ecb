"""Lines of text below a picture."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from esc_cli.media.picture import Picture

TEXT_PX = 16
LINE_PX = 22
_MARGIN_PX = 4
_WHITE = 255


def captioned(picture: Picture, lines: Sequence[str]) -> Picture:
    """Put a black strip with white text below a picture.

    Args:
        picture: Opaque, of 8 bits.
        lines: From top to bottom. Of one that is wider than the picture the end is shown: of the path of a
            file, that says more than its beginning.

    Returns:
        The picture, ``LINE_PX`` higher for each line.
    """
    strip = Image.new("L", (picture.width, LINE_PX * len(lines)))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(TEXT_PX)
    for number, line in enumerate(lines):
        text = _fitted(line.replace("\n", " "), draw, font, picture.width - 2 * _MARGIN_PX)
        draw.text((_MARGIN_PX, number * LINE_PX), text, fill=_WHITE, font=font)
    return replace(picture, color=torch.cat((picture.color, _planes(strip)), dim=2))


def _fitted(
    line: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width_px: int
) -> str:
    """Cut a line at its beginning until it is narrow enough."""
    text = line
    while text and draw.textlength(text, font) > width_px:
        line = line[1:]
        text = f"...{line}" if line else ""
    return text


def _planes(strip: Image.Image) -> Tensor:
    """(1, 3, H, W) of three equal planes."""
    plane = torch.from_numpy(np.array(strip))
    return plane.expand(1, 3, *plane.shape)
