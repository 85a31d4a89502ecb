"""Turn pixels upright."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

TURNS_WHICH_SWAP_SIDES = (5, 6, 7, 8)
"""EXIF orientations that swap height and width."""


def turned(pixels: "npt.NDArray[Any]", orientation: int) -> "npt.NDArray[Any]":
    """Return an upright view of pixels of shape (H, W, C).

    Source: Exif 2.32 (JEITA CP-3451E), table 4, tag 274. The result is that of Pillow's
    ImageOps.exif_transpose.
    """
    if orientation in TURNS_WHICH_SWAP_SIDES:
        pixels = pixels.swapaxes(0, 1)
    flip_rows = orientation in (3, 4, 7, 8)
    flip_columns = orientation in (2, 3, 6, 7)
    return pixels[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
