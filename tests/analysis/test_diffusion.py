"""Test the measures of spread at both extremes and against other formulas."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.analysis.diffusion import diffusion_index, gini, reach_px

VALUES = st.lists(st.just(0.0) | st.floats(1e-9, 1e3), min_size=1, max_size=30)
"""Lists of values. No value is so small that a factor makes it 0."""


@given(VALUES)
def test_gini_is_half_the_relative_mean_difference(values: list[float]) -> None:
    total = sum(values)
    differences = sum(abs(a - b) for a in values for b in values)
    expected = differences / (2 * len(values) * total) if total else 0.0
    assert gini(torch.tensor(values, dtype=torch.float64)) == pytest.approx(expected, abs=1e-9)


@given(VALUES, st.floats(0.01, 100))
def test_neither_order_nor_scale_counts(values: list[float], factor: float) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    assert gini(tensor.flip(0) * factor) == pytest.approx(gini(tensor), abs=1e-9)


def test_one_pixel_and_all_alike() -> None:
    single = torch.zeros(20, 50)
    single[3, 7] = 0.1
    assert diffusion_index(single) == pytest.approx(100 / 1000)
    assert diffusion_index(torch.full((20, 50), 0.1)) == pytest.approx(100)
    assert gini(torch.tensor([0.0, 1.0, 1.0])) == pytest.approx(1 / 3)


def test_distance_within_which_a_share_lies() -> None:
    attribution = torch.tensor([[1.0, 0.0, 6.0, 2.0, 1.0]])
    distances_px = torch.tensor([[2.0, 1.0, 0.0, 1.0, 2.5]])
    reaches = [reach_px(attribution, distances_px, share) for share in (0.5, 0.6, 0.61, 0.85, 0.95, 1)]
    assert reaches == [0, 0, 1, 2, 2.5, 2.5]
