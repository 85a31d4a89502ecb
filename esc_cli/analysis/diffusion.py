"""How widely an attribution is spread: in one number, and in pixels."""

import torch
from torch import Tensor


def gini(values: Tensor) -> float:
    """Give the Gini coefficient: 0 where all values are equal, 1 - 1 / n where one of n has everything.

    Args:
        values: Not negative, any shape but empty.

    Source: Gini 1912, as the sorted sum: sum of (2 i - n - 1) a_i / (n sum of a), i from 1.
    """
    ascending = values.double().flatten().sort().values
    n, total = len(ascending), float(ascending.sum())
    if total == 0:
        return 0.0
    weights = 2 * torch.arange(1, n + 1, dtype=torch.float64) - n - 1
    return float(weights @ ascending) / (n * total)


def diffusion_index(attribution: Tensor) -> float:
    """Give how evenly all pixels of a picture are involved: 100 / (H W) for one pixel, 100 for all alike.

    It compares networks on pictures of one size: pixels without a share count, too.

    Args:
        attribution: (H, W), not negative.

    Source: Gu and Dong, "Interpreting super-resolution networks with local attribution maps"
    (arXiv 2011.11036), equation 8.
    """
    return 100 * (1 - gini(attribution))


def reach_px(attribution: Tensor, distances_px: Tensor, share: float) -> float:
    """Give the distance within which a share of the attribution lies.

    Args:
        attribution: (H, W), not negative, not all zero.
        distances_px: (H, W).
        share: Above 0, at most 1.
    """
    order = distances_px.flatten().argsort()
    within = attribution.double().flatten()[order].cumsum(dim=0)
    index = int(torch.searchsorted(within, share * within[-1]))
    return float(distances_px.flatten()[order][index])
