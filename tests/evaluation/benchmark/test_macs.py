"""Test that the counts match the tables of the papers to the last digit."""

import pytest

from esc_cli.evaluation.benchmark.macs import multiply_accumulates
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.registry import VARIANTS

# Source: arXiv 2503.06671, table 2: 10^9 multiply-accumulates, for results of 1280x720 pixels.
PUBLISHED = {
    "esc": (592.0, 267.6, 149.2),
    "esc-light": (359.4, 162.8, 91.0),
    "esc-fp": (239.8, 110.0, 60.8),
}
CASES = [(name, scale, PUBLISHED[name][scale - 2]) for name in PUBLISHED for scale in (2, 3, 4)]


@pytest.mark.parametrize(("name", "scale", "published"), CASES)
def test_as_published(name: str, scale: int, published: float) -> None:
    counted = multiply_accumulates(VARIANTS[name](scale), 720 // scale, 1280 // scale)
    assert round(counted / 10**9, 1) == published


def test_what_multiplies_nothing() -> None:
    assert multiply_accumulates(InterpolationConfig(4, "nearest"), 180, 320) == 0
