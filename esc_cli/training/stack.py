"""Pictures of any sizes in one tensor, out of which the patches of a batch are cut all at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_TURNS = 4


@dataclass(frozen=True)
class Place:
    """Where a square patch is cut out, and how it is turned.

    Attributes:
        picture: Number of the picture.
        top: Of the patch, pixels.
        left: Likewise.
        flip: Mirror it left to right, after the turns.
        turns: By 90 degrees, counter-clockwise.
    """

    picture: int
    top: int
    left: int
    flip: bool
    turns: int

    def scaled(self, scale: int) -> "Place":
        """Give the same place in a picture that is larger by a factor."""
        return Place(self.picture, scale * self.top, scale * self.left, self.flip, self.turns)


class PictureStack:
    """Pictures (3, H, W), uint8, one behind the other in one tensor.

    A GPU is given one operation for a batch; patch by patch, Python alone would take it longer than a step.

    Args:
        pictures: At least one; emptied, so that each is let go as soon as it was copied.
        device: Where they are kept.

    Attributes:
        pictures: The same, as views.
    """

    def __init__(self, pictures: list[Tensor], device: torch.device) -> None:
        shapes = [picture.shape for picture in pictures]
        sizes = [picture.numel() for picture in pictures]
        self._values = torch.empty(sum(sizes), dtype=torch.uint8, device=device)
        parts = torch.split(self._values, sizes)
        for part in reversed(parts):
            part.copy_(pictures.pop().flatten())
        self.pictures: tuple[Tensor, ...] = tuple(
            part.view(shape) for part, shape in zip(parts, shapes, strict=True)
        )

    def cut(self, places: Sequence[Place], side_px: int) -> Tensor:
        """Cut patches out, (N, 3, side, side), uint8."""
        rows = torch.tensor([self._numbers_of(place) for place in places]).to(self._values.device)  # (N, 4)
        turning, *numbers = rows.T[..., None, None]  # 4 of (N, 1, 1)
        first, width, plane = numbers
        turned = turned_grids(side_px, self._values.device)[turning.flatten()]  # (N, side, side)
        pixels = first + turned // side_px * width + turned % side_px
        channels = torch.arange(3, device=pixels.device)[:, None, None]
        return self._values[pixels[:, None] + channels * plane[:, None]]

    def _numbers_of(self, place: Place) -> tuple[int, int, int, int]:
        """Give the way of turning, the first pixel's number, and how far rows and channels lie apart."""
        picture = self.pictures[place.picture]
        _, height, width = picture.shape
        first = int(picture.storage_offset()) + place.top * width + place.left
        return _TURNS * place.flip + place.turns, first, width, height * width


def turn(patch: Tensor, flip: bool, turns: int) -> Tensor:
    """Turn (..., H, W) counter-clockwise by 90 degrees so many times, then mirror it left to right."""
    turned = patch.rot90(turns, (-2, -1))
    return turned.flip(-1) if flip else turned


@cache
def turned_grids(side_px: int, device: torch.device) -> Tensor:
    """Give the numbers of a square's pixels, turned in each way: (8, side, side)."""
    grid = torch.arange(side_px**2, device=device).view(side_px, side_px)
    return torch.stack([turn(grid, flip, turns) for flip in (False, True) for turns in range(_TURNS)])
