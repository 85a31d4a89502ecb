"""Several pictures on one sheet."""

import math
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from esc_cli.media.picture import Picture
from esc_cli.media.pixels.alpha import composite

_GAP_PX = 8
_BLACK = (0, 0, 0)


def contact_sheet(pictures: Sequence[Picture], columns: int | None = None) -> Picture:
    """Put pictures on a black sheet, row by row, with 8 pixels between them.

    Args:
        pictures: At least one; all of one size and type.
        columns: How many stand side by side; None for a sheet that is nearly as wide as high.

    Returns:
        Of their type, opaque: what is transparent is laid on black. All else, such as the color profile, is
        that of the first; it is gray if all are.

    Raises:
        ValueError: There are none, their sizes or types differ, or there are less than one column.
    """
    if not pictures or len({(picture.color.shape, picture.color.dtype) for picture in pictures}) > 1:
        raise ValueError("a sheet is made of one picture or more, all of one size and type")
    first = pictures[0]
    columns = columns if columns is not None else _best_columns(len(pictures), first.height, first.width)
    if columns < 1:
        raise ValueError("a sheet has one column or more")
    color = _sheet([_opaque(picture) for picture in pictures], columns)
    return replace(first, color=color, alpha=None, gray=all(picture.gray for picture in pictures))


def _best_columns(count: int, height: int, width: int) -> int:
    """The columns that make a sheet of pictures of this size, in pixels, most nearly a square."""
    return min(range(1, count + 1), key=lambda columns: _imbalance(count, columns, height, width))


def _imbalance(count: int, columns: int, height: int, width: int) -> float:
    """How far a sheet is from a square: 0 for one."""
    rows = math.ceil(count / columns)
    return abs(math.log(_side_px(rows, height) / _side_px(columns, width)))


def _side_px(count: int, length_px: int) -> int:
    return count * (length_px + _GAP_PX) - _GAP_PX


def _opaque(picture: Picture) -> Tensor:
    return picture.color if picture.alpha is None else composite(picture.color, picture.alpha, _BLACK)


def _sheet(colors: Sequence[Tensor], columns: int) -> Tensor:
    """(1, 3, H, W) of the sheet."""
    height, width = colors[0].shape[-2:]
    rows = math.ceil(len(colors) / columns)
    sheet = colors[0].new_zeros((1, 3, _side_px(rows, height), _side_px(columns, width)))
    for index, color in enumerate(colors):
        row, column = divmod(index, columns)
        top, left = row * (height + _GAP_PX), column * (width + _GAP_PX)
        sheet[..., top : top + height, left : left + width] = color
    return sheet
