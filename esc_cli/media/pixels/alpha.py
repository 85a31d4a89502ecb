"""Transparency: composite a picture on a background where alpha cannot be kept."""

import torch
from torch import Tensor


def largest_value(dtype: torch.dtype) -> int:
    """Return the value of white and of opaque alpha: 255, 65535, or 1 for floats."""
    return 1 if dtype.is_floating_point else torch.iinfo(dtype).max


def composite(color: Tensor, alpha: Tensor, background: tuple[int, int, int]) -> Tensor:
    """Composite a picture on a plain background, blending the values as they are stored, as browsers do.

    Args:
        color: Tensor of shape (N, 3, H, W), uint8, uint16 or float32 in [0, 1], not premultiplied by alpha.
        alpha: Tensor of shape (N, 1, H, W), of any of these types. The largest value is opaque.
        background: Red, green and blue, 0 to 255.

    Returns:
        Tensor of shape (N, 3, H, W) with the type of `color`.

    Source:
        W3C Compositing and Blending Level 1, 5.1 (simple alpha compositing).
    """
    opacity = alpha[:, 0].to(torch.float32) / largest_value(alpha.dtype)  # (N, H, W)
    result = torch.empty_like(color)
    # One channel at a time: as floats, all three would take four times the memory of the result.
    for channel, value in enumerate(background):
        below = value * (largest_value(color.dtype) / 255)
        blended = color[:, channel].to(torch.float32, copy=True).sub_(below).mul_(opacity).add_(below)
        result[:, channel] = as_pixels(blended, color.dtype)
    return result


def as_pixels(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert floats to a pixel type. The floats are changed in place."""
    values = values if dtype.is_floating_point else values.round_()
    return values.clamp_(0, largest_value(dtype)).to(dtype)
