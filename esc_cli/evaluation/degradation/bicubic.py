"""How the field makes low-resolution pictures: antialiased bicubic downscaling, rounded to 8 bits."""

from torch import Tensor

from esc_cli.enhancement.resize import resize


def crop_to_multiple(picture: Tensor, multiple: int) -> Tensor:
    """Cut (N, C, H, W) at the right and the bottom to multiples of ``multiple`` pixels."""
    height, width = (side - side % multiple for side in picture.shape[-2:])
    return picture[..., :height, :width]


def downscale(picture: Tensor, scale: int) -> Tensor:
    """Shrink (N, C, H, W), sides multiples of ``scale``, by the published protocol.

    Shrink the whole picture first and crop after: at its borders a crop's pixels come out differently.

    Returns:
        (N, C, H / scale, W / scale), the same dtype; uint8 is rounded.
    """
    height, width = picture.shape[-2:]
    return resize(picture, height // scale, width // scale)
