"""Fill the colors under transparent pixels."""

import torch
import torch.nn.functional as F
from torch import Tensor

from esc_cli.media.pixels.alpha import as_pixels, largest_value

_TRUSTED_FROM = 0.125
"""Opacity from which a pixel's color is trusted completely."""


def bleed(color: Tensor, alpha: Tensor) -> Tensor:
    """Fill the colors under transparent pixels from the visible ones nearby.

    The colors under transparent pixels are arbitrary (often black), and a network would see an edge at them
    and draw a halo. The colors under hardly visible pixels are arbitrary too, because programs that keep
    premultiplied colors in 8 bits round them. A white disk with black under alpha of 8 and less, enlarged
    four times by esc-light and composited on white, has 233 as its darkest value if these colors are kept,
    and 254 if they are filled.

    Args:
        color: (N, 3, H, W), uint8, uint16 or float32 in [0, 1]; not premultiplied.
        alpha: (N, 1, H, W), of any of these types. Its largest value is opaque.

    Returns:
        (N, 3, H, W), same dtype as `color`. Pixels with an opacity of at least one eighth keep their exact
        values. The input itself is returned if there is nothing to fill or nothing is visible.

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
    """Complete the partly known colors of one level of the pyramid from the level above.

    Args:
        weighted: Colors times their weight, (N, 3, H, W), float.
        weight: (N, 1, H, W), float in [0, 1]; not 0 everywhere.

    Returns:
        Colors, (N, 3, H, W), float.
    """
    known = weighted / weight.clamp(min=torch.finfo(torch.float32).tiny)
    if weight.shape[-2:] == (1, 1):
        return known
    return torch.lerp(_guess_from_above(weighted, weight), known, weight)


def _guess_from_above(weighted: Tensor, weight: Tensor) -> Tensor:
    """Return colors from the coarser levels alone. Arguments and result are those of `_filled`."""
    above = _filled(_halved(weighted), _halved(weight))
    return F.interpolate(above, weight.shape[-2:], mode="bilinear", align_corners=False)


def _halved(plane: Tensor) -> Tensor:
    return F.avg_pool2d(plane, 2, ceil_mode=True, count_include_pad=False)
