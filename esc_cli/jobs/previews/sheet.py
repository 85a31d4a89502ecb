"""Put parts of a picture and of its result on a sheet, or make the layers of a page from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

import torch
from torch import Tensor

from esc_cli.evaluation.shown import as_shown
from esc_cli.media.contact_sheet import LINE_PX, captioned, contact_sheet
from esc_cli.media.contact_sheet import sheet_size as montage_size
from esc_cli.media.light import to_screen
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.depth import with_depth

_GAP_PX = 8
_CAPTIONS = 2

CELL_PX = 240
"""Parts narrower than this are magnified on a sheet, because captions need room."""


@dataclass(frozen=True)
class Version:
    """One version of all parts of a picture.

    Attributes:
        name: Name of the version, such as that of the model that made it.
        parts: The parts, in the order of their places.
    """

    name: str
    parts: tuple[Picture, ...]


def sheet_of(versions: Sequence[Version], places: Sequence[str]) -> Picture:
    """Arrange parts on a sheet: a row for each place, a column for each version.

    Args:
        versions: The versions.
        places: Text for each place.

    Returns:
        The sheet, with the color profile, the gray and the depth of the parts, up to 16 bits. Light becomes
        sRGB.
    """
    cells = [
        captioned(_magnified(version.parts[row]), (version.name, place))
        for row, place in enumerate(places)
        for version in _of_one_size(versions)
    ]
    sheet = contact_sheet(cells, len(versions))
    return replace(sheet, metadata=Metadata(icc_profile=sheet.metadata.icc_profile))


def layer_of(version: Version) -> Tensor:
    """Arrange the parts of a version side by side for a page: (1, 3, H, W), uint8, sRGB, opaque."""
    (version,) = _of_one_size([version])
    return contact_sheet([shown(part) for part in version.parts]).color


def sheet_size(height: int, width: int, count: int, *, is_page: bool) -> tuple[int, int]:
    """Return the size, (height, width), of a sheet with two versions, or of a page's pictures.

    Args:
        height: Height of a part of the result, in pixels.
        width: Width of a part of the result, in pixels.
        count: Number of parts.
        is_page: Whether the size is that of a page's pictures.
    """
    if is_page:
        return montage_size(count, height, width)
    factor = _magnification(width)
    cell_px = factor * height + _CAPTIONS * LINE_PX
    return count * (cell_px + _GAP_PX) - _GAP_PX, 2 * factor * width + _GAP_PX


def shown(picture: Picture) -> Picture:
    """Return a picture as a browser shows it: opaque, in sRGB, with 8 bits."""
    return as_shown(with_depth(to_screen(picture), 8))


def _of_one_size(versions: Sequence[Version]) -> list[Version]:
    """Cut all parts to the size of the smallest: rounding may have made some one pixel larger."""
    parts = [part for version in versions for part in version.parts]
    height, width = min(part.height for part in parts), min(part.width for part in parts)
    return [
        replace(version, parts=tuple(_cropped(part, height, width) for part in version.parts))
        for version in versions
    ]


def _cropped(picture: Picture, height: int, width: int) -> Picture:
    alpha = None if picture.alpha is None else picture.alpha[..., :height, :width]
    return replace(picture, color=picture.color[..., :height, :width], alpha=alpha)


def _magnification(width: int) -> int:
    return ceil(CELL_PX / width)


def _magnified(picture: Picture) -> Picture:
    """Repeat the pixels of a narrow part, which has at most 16 bits afterwards."""
    picture = with_depth(to_screen(picture), 16)
    factor = _magnification(picture.width)
    alpha = None if picture.alpha is None else _repeated(picture.alpha, factor)
    return replace(picture, color=_repeated(picture.color, factor), alpha=alpha)


def _repeated(planes: Tensor, factor: int) -> Tensor:
    # Torch cannot repeat uint16. Pixels are only copied, so their type does not matter.
    movable = planes.view(torch.int16) if planes.dtype == torch.uint16 else planes
    return movable.repeat_interleave(factor, -2).repeat_interleave(factor, -1).view(planes.dtype)
