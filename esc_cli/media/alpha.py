"""Transparency: colors for pixels that nobody sees, and a background where alpha cannot be kept."""

import torch
import torch.nn.functional as F
from torch import Tensor

_TRUSTED_FROM = 0.125
"""The share of opacity from which a pixel's color is believed."""


def largest_value(dtype: torch.dtype) -> int:
    """The value of white, and of opaque alpha: 255, 65535, or 1 of floats."""
    return 1 if dtype.is_floating_point else torch.iinfo(dtype).max


def bleed(color: Tensor, alpha: Tensor) -> Tensor:
    """Fill the colors under transparent pixels from the visible ones nearby.

    Those colors are arbitrary (often black), and a network would see an edge at them and draw a halo. So are
    those under pixels that are hardly visible: programs which keep colors multiplied by alpha in 8 bits round
    them. A white disk with black under alpha of 8 and less, enlarged four times by esc-light and laid on
    white, has 233 as its darkest value if those are kept, and 254 if not.

    Args:
        color: (N, 3, H, W), uint8, uint16 or float32 in [0, 1]; not multiplied by alpha.
        alpha: (N, 1, H, W), of any of these types, its largest value is opaque.

    Returns:
        (N, 3, H, W), as `color`; pixels that are visible to an eighth and more keep their very values. The
        input itself where nothing is to be filled, or nothing is visible.

    Source:
        The pull-push algorithm of S. J. Gortler et al., "The Lumigraph" (SIGGRAPH 1996), section 3.4.
    """
    visible = alpha.to(torch.float32) / largest_value(alpha.dtype)
    trust = (visible / _TRUSTED_FROM).clamp_(max=1).square_()
    doubtful = trust < 1
    if not doubtful.any() or not visible.any():
        return color
    weight = visible.mul_(trust)
    filled = _guess_from_above(color * weight, weight)
    filled = filled.lerp_(color.to(torch.float32), trust)
    return torch.where(doubtful, _as_type(filled, color.dtype), color)


def composite(color: Tensor, alpha: Tensor, background: tuple[int, int, int]) -> Tensor:
    """Lay a picture on a plain background, blending the values as they are stored, as browsers do.

    Args:
        color: (N, 3, H, W), uint8, uint16 or float32 in [0, 1]; not multiplied by alpha.
        alpha: (N, 1, H, W), of any of these types, its largest value is opaque.
        background: Red, green and blue, 0 to 255.

    Returns:
        (N, 3, H, W), as `color`.

    Source:
        W3C Compositing and Blending Level 1, 5.1 (simple alpha compositing).
    """
    opacity = alpha[:, 0].to(torch.float32) / largest_value(alpha.dtype)  # (N, H, W)
    result = torch.empty_like(color)
    # One channel at a time: as floats, all three would take four times the room of the result.
    for channel, value in enumerate(background):
        below = value * (largest_value(color.dtype) / 255)
        blended = color[:, channel].to(torch.float32, copy=True).sub_(below).mul_(opacity).add_(below)
        result[:, channel] = _as_type(blended, color.dtype)
    return result


def _as_type(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Floats as the type of pixels; they are changed in place."""
    values = values if dtype.is_floating_point else values.round_()
    return values.clamp_(0, largest_value(dtype)).to(dtype)


def _filled(weighted: Tensor, weight: Tensor) -> Tensor:
    """One level of the pyramid: colors known in part, completed by the level above.

    Args:
        weighted: (N, 3, H, W), float, colors times their weight.
        weight: (N, 1, H, W), float in [0, 1]; not 0 everywhere.

    Returns:
        (N, 3, H, W), float, colors.
    """
    known = weighted / weight.clamp(min=torch.finfo(torch.float32).tiny)
    if weight.shape[-2:] == (1, 1):
        return known
    return torch.lerp(_guess_from_above(weighted, weight), known, weight)


def _guess_from_above(weighted: Tensor, weight: Tensor) -> Tensor:
    """Colors as the coarser levels alone would have them; arguments and result as of `_filled`."""
    above = _filled(_halved(weighted), _halved(weight))
    return F.interpolate(above, weight.shape[-2:], mode="bilinear", align_corners=False)


def _halved(plane: Tensor) -> Tensor:
    return F.avg_pool2d(plane, 2, ceil_mode=True, count_include_pad=False)
