"""Measure how widely an attribution is spread: as one number, and in pixels."""

import torch
from torch import Tensor


def gini(values: Tensor) -> float:
    """Return the Gini coefficient: 0 if all values are equal, 1 - 1 / n if one of n values has everything.

    Args:
        values: Nonnegative values, any shape but empty.

    Source: Gini 1912, as a sum over sorted values: sum of (2 i - n - 1) a_i / (n sum of a), i from 1.
    """
    ascending = values.double().flatten().sort().values
    n, total = len(ascending), float(ascending.sum())
    if total == 0:
        return 0.0
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return float(weights @ ascending) / (n * total)


def diffusion_index(attribution: Tensor) -> float:
    """Return how even an attribution is: 100 / (H W) if one pixel has everything, 100 if all are equal.

    Use it to compare networks on pictures of one size only, because pixels without attribution count, too.

    Args:
        attribution: (H, W), nonnegative.

    Source: Gu and Dong, "Interpreting super-resolution networks with local attribution maps"
    (arXiv 2011.11036), equation 8.
    """
    return 100 * (1 - gini(attribution))


def reach_px(attribution: Tensor, distances_px: Tensor, share: float) -> float:
    """Return the distance within which a share of the attribution lies.

    Args:
        attribution: (H, W), nonnegative, not all zero.
        distances_px: Distance of each pixel, (H, W).
        share: Share of the attribution, above 0 and at most 1.
    """
    order = distances_px.flatten().argsort()
    within = attribution.double().flatten()[order].cumsum(dim=0)
    index = int(torch.searchsorted(within, share * within[-1]))
    return float(distances_px.flatten()[order][index])
