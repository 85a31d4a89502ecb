"""Transparency: colors for pixels that nobody sees."""

import torch
import torch.nn.functional as F
from torch import Tensor

from esc_cli.media.pixels.alpha import as_pixels, largest_value

_TRUSTED_FROM = 0.125
"""The share of opacity from which a pixel's color is believed."""


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
    return torch.where(doubtful, as_pixels(filled, color.dtype), color)


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
