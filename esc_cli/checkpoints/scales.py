"""Which networks, run one after the other, make a scale that none of them has."""

import math
from collections.abc import Iterator

from esc_cli.errors import UsageError

_LARGEST_LISTED = 16
"""An error lists the scales within reach up to here: more would be noise."""


def plan_passes(scale: float, available: tuple[int, ...]) -> tuple[int, ...]:
    """Split a scale into scales that there are networks for.

    Args:
        scale: The factor asked for.
        available: The scales of the networks, in any order.

    Returns:
        Scales whose product is ``scale``: as few as possible, the largest first.

    Raises:
        UsageError: No product of the available scales is ``scale``.
    """
    plans = list(_factorisations(scale, _descending(available))) if scale > 1 else []
    if scale in available:
        return (int(scale),)
    if not plans:
        raise UsageError(f"this model cannot do x{scale:g}", hint=f"it can do {_listed(available)}")
    return min(plans, key=len)


def reachable_scale(scale: float, available: tuple[int, ...]) -> int:
    """Find the smallest scale at or above the asked one that repeated passes can make.

    Args:
        scale: Any factor above zero, such as 1.5; the result is meant to be resized down to it.
        available: The scales of the networks.

    Raises:
        UsageError: ``scale`` is no positive number, or the networks do not enlarge.
    """
    if not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"a scale must be a number above zero, not {scale}")
    enough, pending = set(), set(available)
    while pending:
        product = pending.pop()
        if product >= scale:
            enough.add(product)
        else:
            pending |= {product * factor for factor in _descending(available)}
    if not enough:
        raise UsageError(f"this model does not enlarge, so x{scale} is out of reach")
    return min(enough)


def _descending(available: tuple[int, ...]) -> list[int]:
    return sorted(set(available) - {1}, reverse=True)


def _factorisations(scale: float, factors: list[int]) -> Iterator[tuple[int, ...]]:
    """Give every way to write ``scale`` as a product, each with its factors in the order of ``factors``."""
    if scale == 1:
        yield ()
    for index, factor in enumerate(factors):
        if scale % factor == 0:
            for rest in _factorisations(scale // factor, factors[index:]):
                yield (factor, *rest)


def _listed(available: tuple[int, ...]) -> str:
    factors = _descending(available)
    reachable = {
        scale for scale in range(2, _LARGEST_LISTED + 1) if any(_factorisations(scale, factors))
    } | set(available)
    return ", ".join(f"x{scale}" for scale in sorted(reachable)) + " and their products"
