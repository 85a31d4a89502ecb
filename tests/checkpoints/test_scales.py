import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.checkpoints.scales import plan_passes, reachable_scale
from esc_cli.errors import UsageError

ALL = (2, 3, 4)
some_scales = st.sets(st.integers(1, 5), min_size=1).map(tuple)


@pytest.mark.parametrize(
    ("scale", "passes"),
    [(2, (2,)), (3, (3,)), (4, (4,)), (6, (3, 2)), (8, (4, 2)), (9, (3, 3)), (12, (4, 3)), (16, (4, 4))],
)
def test_few_passes_and_the_largest_first(scale: int, passes: tuple[int, ...]) -> None:
    assert plan_passes(scale, ALL) == passes


@given(some_scales, st.integers(-3, 200))
def test_passes_multiply_to_the_scale(available: tuple[int, ...], scale: int) -> None:
    try:
        passes = plan_passes(scale, available)
    except UsageError as error:
        assert error.hint is not None
        assert scale not in available
    else:
        assert math.prod(passes) == scale
        assert set(passes) <= set(available)
        assert list(passes) == sorted(passes, reverse=True)


def test_an_unreachable_scale_names_the_reachable_ones() -> None:
    with pytest.raises(UsageError, match="x5") as caught:
        plan_passes(5, ALL)
    assert caught.value.hint == "it supports x2, x3, x4, x6, x8, x9, x12, x16 and their products"


def test_a_scale_that_is_not_whole_is_out_of_reach() -> None:
    with pytest.raises(UsageError, match=r"does not support x2\.5"):
        plan_passes(2.5, ALL)
    assert plan_passes(6.0, ALL) == (3, 2)


def test_a_network_that_does_not_enlarge_can_do_scale_one() -> None:
    assert plan_passes(1, (1,)) == (1,)
    with pytest.raises(UsageError):
        plan_passes(1, ALL)


@pytest.mark.parametrize(
    ("asked", "reached"),
    [(0.3, 2), (1.5, 2), (2, 2), (2.1, 3), (3.5, 4), (4.5, 6), (5, 6), (7, 8), (10, 12), (16.1, 18)],
)
def test_the_next_reachable_scale(asked: float, reached: int) -> None:
    assert reachable_scale(asked, ALL) == reached


@given(some_scales.filter(lambda scales: scales != (1,)), st.floats(0.1, 300))
def test_a_reachable_scale_is_the_least_that_can_be_planned(available: tuple[int, ...], asked: float) -> None:
    reached = reachable_scale(asked, available)
    assert reached >= asked
    plan_passes(reached, available)
    for lesser in range(math.ceil(asked), reached):
        with pytest.raises(UsageError):
            plan_passes(lesser, available)


@pytest.mark.parametrize("scale", [0, -1, math.inf, math.nan])
def test_a_scale_must_be_a_positive_number(scale: float) -> None:
    with pytest.raises(UsageError):
        reachable_scale(scale, ALL)


def test_no_scale_above_one_is_reachable_with_scale_one() -> None:
    with pytest.raises(UsageError):
        reachable_scale(2, (1,))
