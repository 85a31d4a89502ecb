"""Make low-resolution pictures as papers do: antialiased bicubic downscaling, rounded to 8 bits."""

from pathlib import Path

from torch import Tensor

from esc_cli.enhancement.resize import resize
from esc_cli.errors import InputError


def crop_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Crop (N, C, H, W) at the right and the bottom to sides that are multiples of ``multiple`` pixels."""
    height, width = (side - side % multiple for side in picture.shape[-2:])
    return picture[..., :height, :width]


def original_of(path: Path, color: Tensor, scale: int) -> Tensor:
    """Return the pixels of a picture, (N, C, H, W), that can be shrunk by a scale: see ``crop_to_multiple``.

    Raises:
        InputError: The picture is smaller than the scale.
    """
    original = crop_to_multiple(color, scale)
    if 0 in original.shape:
        raise InputError(f"{str(path)!r} is smaller than {scale}x{scale} pixels")
    return original


def downscale(picture: Tensor, scale: int) -> Tensor:
    """Shrink (N, C, H, W) with the published protocol. The sides must be multiples of ``scale``.

    Shrink the whole picture before you crop it: the pixels at the borders of a crop would differ.

    Returns:
        (N, C, H / scale, W / scale), with the same dtype; uint8 is rounded.
    """
    height, width = picture.shape[-2:]
    return resize(picture, height // scale, width // scale)
