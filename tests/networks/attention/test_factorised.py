"""A bias in additional channels equals the dense bias, and a table's factors have the stated error."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.networks.attention.factorised import attend_with_factors, factorise, score_error
from esc_cli.networks.attention.position_bias import FactorBias, TableBias
from esc_cli.networks.attention.windows import naive


def smooth_table(heads: int, window: int) -> TableBias:
    """Return a bias that falls with the distance, as trained biases do."""
    offsets = torch.arange(1 - window, window) / window
    distance = offsets[:, None] ** 2 + offsets[None, :] ** 2
    strength = torch.arange(1, heads + 1)[:, None, None]
    return TableBias((2 * torch.exp(-strength * distance)).flatten(1), window)


def random_table(heads: int, window: int) -> TableBias:
    return TableBias(torch.randn(heads, (2 * window - 1) ** 2), window)


def tokens(window: int, heads: int = 2, channels: int = 8) -> list[Tensor]:
    return [torch.randn(3, heads, window**2, channels) for _ in range(3)]


@settings(max_examples=20)
@given(rank=st.integers(1, 20), channels=st.sampled_from([4, 5, 8, 16]), heads=st.integers(1, 3))
def test_given_factors_are_exact(rank: int, channels: int, heads: int) -> None:
    bias = FactorBias(torch.randn(heads, 16, rank), torch.randn(heads, 16, rank))
    query, key, value = tokens(4, heads, channels)
    expected = naive(query, key, value, bias)
    torch.testing.assert_close(attend_with_factors(query, key, value, bias), expected, rtol=1e-4, atol=1e-5)


def test_given_factors_are_trained() -> None:
    factors = [torch.randn(2, 16, 3, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    query, key, value = (one.double() for one in tokens(4))
    gradients = []
    for attend in (attend_with_factors, naive):
        attended = attend(query, key, value, FactorBias(*factors))
        gradients.append(torch.autograd.grad(attended.sin().sum(), factors))
    torch.testing.assert_close(*gradients)


def test_all_channels_reproduce_a_table_less_its_means() -> None:
    bias = random_table(2, 6)
    factors = factorise(bias, 36)
    dense = bias.dense(torch.float32)
    centred = dense - dense.mean(dim=-1, keepdim=True)
    assert (factors.dense(torch.float32) - centred).abs().max() <= 1e-5
    assert score_error(bias, factors) <= 1e-5
    query, key, value = tokens(6)
    expected = naive(query, key, value, bias)
    torch.testing.assert_close(
        attend_with_factors(query, key, value, factors), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("rank", [1, 4, 9])
def test_few_channels_lose_what_the_singular_values_say(rank: int) -> None:
    bias = random_table(1, 6)
    dense = bias.dense(torch.float64)[0]
    left = torch.linalg.svdvals(dense - dense.mean(dim=-1, keepdim=True))[rank:]
    # The smallest possible error over all pairs (Eckart and Young). The randomized decomposition is close.
    best = math.sqrt(left.square().sum().item() / dense.numel())
    assert 0.999 * best <= score_error(bias, factorise(bias, rank)) <= 1.01 * best


def test_the_error_of_the_scores_bounds_that_of_the_weights() -> None:
    bias = smooth_table(2, 6)
    factors = factorise(bias, 4)
    dense = bias.dense(torch.float32)
    error = (dense - dense.mean(-1, keepdim=True) - factors.dense(torch.float32)).abs().max().item()
    assert error > 1e-3  # otherwise the test shows nothing
    exact, approximate = (scores.softmax(dim=-1) for scores in (dense, factors.dense(torch.float32)))
    assert (approximate / exact).log().abs().max().item() <= 2 * error + 1e-5


def test_factors_leave_the_random_numbers_alone() -> None:
    bias = random_table(1, 6)
    state = torch.get_rng_state()
    first = factorise(bias, 4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(5)
    assert torch.equal(factorise(bias, 4).query_factors, first.query_factors)
