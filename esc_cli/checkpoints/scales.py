"""Plan which networks to run one after the other to make a scale that no single network has."""

import math
from collections.abc import Iterator

from esc_cli.errors import UsageError

DEFAULT_SCALE = 4
"""Scale of a model that has it, if no scale is requested."""

_LARGEST_LISTED = 16
"""Largest scale that an error lists. A longer list would not help."""


def default_scale(available: tuple[int, ...]) -> int:
    """Return the scale if none is requested: ``DEFAULT_SCALE`` if the model has it, else its largest."""
    return DEFAULT_SCALE if DEFAULT_SCALE in available else max(available)


def plan_passes(scale: float, available: tuple[int, ...]) -> tuple[int, ...]:
    """Split a scale into scales for which there are networks.

    Args:
        scale: The requested scale.
        available: The scales of the networks, in any order.

    Returns:
        Scales whose product is ``scale``, as few as possible, with the largest first.

    Raises:
        UsageError: No product of the available scales is ``scale``.
    """
    plans = list(_factorisations(scale, _descending(available))) if scale > 1 else []
    if scale in available:
        return (int(scale),)
    if not plans:
        raise UsageError(f"this model does not support x{scale:g}", hint=f"it supports {_listed(available)}")
    return min(plans, key=len)


def reachable_scale(scale: float, available: tuple[int, ...]) -> int:
    """Return the smallest scale at or above ``scale`` that repeated passes can make.

    Args:
        scale: Any factor above zero, for example 1.5. The caller resizes the result down to this scale.
        available: The scales of the networks.

    Raises:
        UsageError: ``scale`` is not a positive number, or the networks do not enlarge.
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
        raise UsageError(f"this model does not enlarge, so it cannot make x{scale}")
    return min(enough)


def _descending(available: tuple[int, ...]) -> list[int]:
    return sorted(set(available) - {1}, reverse=True)


def _factorisations(scale: float, factors: list[int]) -> Iterator[tuple[int, ...]]:
    """Yield every way to write ``scale`` as a product, each with its factors in the order of ``factors``."""
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
