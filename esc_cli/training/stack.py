"""Pictures of any sizes in one tensor, from which all patches of a batch are cut with one operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

_TURNS = 4


@dataclass(frozen=True)
class Place:
    """The place where a square patch is cut out, and its rotation.

    Attributes:
        picture: Index of the picture.
        top: Top of the patch, in pixels.
        left: Left of the patch, in pixels.
        flip: Whether to mirror the patch left to right, after the rotation.
        turns: Number of counterclockwise rotations by 90 degrees.
    """

    picture: int
    top: int
    left: int
    flip: bool
    turns: int

    def scaled(self, scale: int) -> "Place":
        """Return the same place in a picture that is larger by a factor."""
        return Place(self.picture, scale * self.top, scale * self.left, self.flip, self.turns)


class PictureStack:
    """Pictures (3, H, W), uint8, concatenated in one tensor.

    A GPU cuts a whole batch with one operation. Patch by patch, Python alone would take longer than a step.

    Args:
        pictures: At least one picture. The list is emptied, so that each picture is freed once it is copied.
        device: Device of the tensor.

    Attributes:
        pictures: The pictures, as views of the tensor.
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
        """Cut patches at the given places, (N, 3, side, side), uint8."""
        rows = torch.tensor([self._numbers_of(place) for place in places]).to(self._values.device)  # (N, 4)
        turning, *numbers = rows.T[..., None, None]  # 4 of (N, 1, 1)
        first, width, plane = numbers
        turned = turned_grids(side_px, self._values.device)[turning.flatten()]  # (N, side, side)
        pixels = first + turned // side_px * width + turned % side_px
        channels = torch.arange(3, device=pixels.device)[:, None, None]
        return self._values[pixels[:, None] + channels * plane[:, None]]

    def _numbers_of(self, place: Place) -> tuple[int, int, int, int]:
        """Return the index of the rotation, the index of the first pixel, and the row and channel strides."""
        picture = self.pictures[place.picture]
        _, height, width = picture.shape
        first = int(picture.storage_offset()) + place.top * width + place.left
        return _TURNS * place.flip + place.turns, first, width, height * width


def turn(patch: Tensor, flip: bool, turns: int) -> Tensor:
    """Rotate (..., H, W) counterclockwise by 90 degrees ``turns`` times, then mirror it if ``flip``."""
    turned = patch.rot90(turns, (-2, -1))
    return turned.flip(-1) if flip else turned


@cache
def turned_grids(side_px: int, device: torch.device) -> Tensor:
    """Return the pixel indices of a square in each of its 8 rotations and flips, (8, side, side)."""
    grid = torch.arange(side_px**2, device=device).view(side_px, side_px)
    return torch.stack([turn(grid, flip, turns) for flip in (False, True) for turns in range(_TURNS)])
