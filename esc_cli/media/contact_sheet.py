"""Contact sheets of several pictures, and captions below a picture."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from esc_cli.media.picture import Picture
from esc_cli.media.pixels.alpha import composite

_GAP_PX = 8
_BLACK = (0, 0, 0)


def contact_sheet(pictures: Sequence[Picture], columns: int | None = None) -> Picture:
    """Put pictures on a black sheet, row by row, with 8 pixels between them.

    Args:
        pictures: At least one picture. All must have the same size and type.
        columns: Number of pictures in a row. None chooses the number that makes the sheet most nearly square.

    Returns:
        An opaque picture of the same type, composited on black. It is gray if all pictures are gray.
        Everything else, such as the color profile, comes from the first picture.

    Raises:
        ValueError: There are no pictures, their sizes or types differ, or ``columns`` is less than 1.
    """
    if not pictures or len({(picture.color.shape, picture.color.dtype) for picture in pictures}) > 1:
        raise ValueError("a contact sheet needs at least one picture, and all must have one size and type")
    first = pictures[0]
    columns = columns if columns is not None else _best_columns(len(pictures), first.height, first.width)
    if columns < 1:
        raise ValueError("a contact sheet needs at least one column")
    color = _sheet([_opaque(picture) for picture in pictures], columns)
    return replace(first, color=color, alpha=None, gray=all(picture.gray for picture in pictures))


def sheet_size(count: int, height: int, width: int) -> tuple[int, int]:
    """Return the size, (height, width), of a sheet of some pictures of this size."""
    columns = _best_columns(count, height, width)
    return _side_px(math.ceil(count / columns), height), _side_px(columns, width)


def _best_columns(count: int, height: int, width: int) -> int:
    """Return the number of columns that makes a sheet of pictures of this size most nearly square."""
    return min(range(1, count + 1), key=lambda columns: _imbalance(count, columns, height, width))


def _imbalance(count: int, columns: int, height: int, width: int) -> float:
    """Return how far a sheet is from a square; 0 means that it is square."""
    rows = math.ceil(count / columns)
    return abs(math.log(_side_px(rows, height) / _side_px(columns, width)))


def _side_px(count: int, length_px: int) -> int:
    return count * (length_px + _GAP_PX) - _GAP_PX


def _opaque(picture: Picture) -> Tensor:
    return picture.color if picture.alpha is None else composite(picture.color, picture.alpha, _BLACK)


def _sheet(colors: Sequence[Tensor], columns: int) -> Tensor:
    """Return the sheet, a tensor of shape (1, 3, H, W)."""
    height, width = colors[0].shape[-2:]
    rows = math.ceil(len(colors) / columns)
    sheet = colors[0].new_zeros((1, 3, _side_px(rows, height), _side_px(columns, width)))
    for index, color in enumerate(colors):
        row, column = divmod(index, columns)
        top, left = row * (height + _GAP_PX), column * (width + _GAP_PX)
        sheet[..., top : top + height, left : left + width] = color
    return sheet


TEXT_PX = 16
LINE_PX = 22
_MARGIN_PX = 4
_WHITE = 255


def captioned(picture: Picture, lines: Sequence[str]) -> Picture:
    """Put a black strip with white text below a picture.

    Args:
        picture: Picture of 8 or 16 bits. If it is not opaque, it is composited on black.
        lines: Lines of text, from top to bottom. If a line is wider than the picture, only its end is shown:
            the end of a file's path says more than its beginning.

    Returns:
        The picture, higher by ``LINE_PX`` pixels for each line.
    """
    strip = Image.new("L", (picture.width, LINE_PX * len(lines)))
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(TEXT_PX)
    for number, line in enumerate(lines):
        text = _fitted(line.replace("\n", " "), draw, font, picture.width - 2 * _MARGIN_PX)
        draw.text((_MARGIN_PX, number * LINE_PX), text, fill=_WHITE, font=font)
    color = torch.cat((_opaque(picture), _planes(strip, picture.color)), dim=2)
    return replace(picture, color=color, alpha=None)


def _fitted(
    line: str, draw: ImageDraw.ImageDraw, font: ImageFont.ImageFont | ImageFont.FreeTypeFont, width_px: int
) -> str:
    """Cut a line at its beginning until it is narrow enough."""
    text = line
    while text and draw.textlength(text, font) > width_px:
        line = line[1:]
        text = f"...{line}" if line else ""
    return text


def _planes(strip: Image.Image, color: Tensor) -> Tensor:
    """Return a tensor of shape (1, 3, H, W) with three equal planes, of the type of a picture."""
    plane = torch.from_numpy(np.array(strip))
    if color.dtype == torch.uint16:
        plane = (plane.to(torch.int32) * 257).to(torch.uint16)
    return plane.expand(1, 3, *plane.shape)
