"""Test CKA against its other formulas and against known values."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.analysis.kernel_alignment import (
    FEWEST_EXAMPLES,
    cka,
    correlation,
    cosine,
    debiased_cka,
    gram_matrix,
)

MEASURES = [cka, debiased_cka]


def features(n: int, p: int, seed: int = 0) -> Tensor:
    return torch.randn(n, p, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def hsic(first: Tensor, second: Tensor) -> Tensor:
    """Compute HSIC as in Kornblith et al., with the centering matrix written out."""
    n = len(first)
    centering = torch.eye(n, dtype=torch.float64) - 1 / n
    kernels = first @ first.T, second @ second.T
    return torch.trace(kernels[0] @ centering @ kernels[1] @ centering) / (n - 1) ** 2


def unbiased_hsic(first: Tensor, second: Tensor) -> Tensor:
    """Compute the unbiased HSIC as in Song et al., equation 5."""
    n, ones = len(first), torch.ones(len(first), dtype=torch.float64)
    kernels = [(each @ each.T).fill_diagonal_(0) for each in (first, second)]
    product = kernels[0] @ kernels[1]
    total = torch.trace(product) - 2 / (n - 2) * ones @ product @ ones
    total += (ones @ kernels[0] @ ones) * (ones @ kernels[1] @ ones) / ((n - 1) * (n - 2))
    return total / (n * (n - 3))


@given(st.integers(FEWEST_EXAMPLES, 12), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_both_estimators_agree_with_their_published_formulas(n: int, p: int, q: int, seed: int) -> None:
    first, second = features(n, p, seed) + 2, features(n, q, seed + 10)
    second[:, 0] += first[:, 0]
    grams = gram_matrix(first), gram_matrix(second)
    for measure, formula in ((cka, hsic), (debiased_cka, unbiased_hsic)):
        expected = formula(first, second) / (formula(first, first) * formula(second, second)).sqrt()
        assert measure(*grams) == pytest.approx(float(expected), abs=1e-9)


def test_it_is_the_alignment_of_feature_spaces() -> None:
    first, second = features(30, 7), features(30, 9, seed=1) + features(30, 1)
    x, y = (each - each.mean(dim=0) for each in (first, second))
    expected = (y.T @ x).norm() ** 2 / ((x.T @ x).norm() * (y.T @ y).norm())
    assert cka(gram_matrix(first), gram_matrix(second)) == pytest.approx(float(expected), abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_rotation_scale_and_shift_change_nothing(measure: type) -> None:
    first = features(10, 50)
    rotation = torch.linalg.qr(features(50, 50, seed=1)).Q
    gram = gram_matrix(first)
    assert measure(gram, gram) == pytest.approx(1, abs=1e-12)
    assert measure(gram, gram_matrix(3 * first @ rotation + 5)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("measure", MEASURES)
def test_unrelated_features_of_many_examples(measure: type) -> None:
    assert abs(measure(gram_matrix(features(2000, 4)), gram_matrix(features(2000, 4, seed=1)))) < 0.01


def test_few_examples_of_many_unrelated_features_deceive_only_the_biased_one() -> None:
    grams = gram_matrix(features(16, 20000)), gram_matrix(features(16, 20000, seed=1))
    assert cka(*grams) > 0.99
    assert abs(debiased_cka(*grams)) < 0.3


def test_float32_with_a_mean_far_above_the_differences() -> None:
    first, second = features(8, 1000), features(8, 1000, seed=1)
    exact = cka(gram_matrix(first), gram_matrix(second))
    shifted = [gram_matrix((each + 1000).float()) for each in (first, second)]
    assert cka(*shifted) == pytest.approx(exact, abs=1e-3)


def test_what_tells_nothing_apart_is_like_nothing() -> None:
    same, other = gram_matrix(torch.ones(5, 3)), gram_matrix(features(5, 3))
    assert (cka(same, other), debiased_cka(same, other), cka(same, same)) == (0, 0, 0)


def test_cosine() -> None:
    assert cosine(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]])) == pytest.approx(0.5**0.5)
    assert cosine(torch.ones(2, 2), -torch.ones(2, 2)) == pytest.approx(-1)


def test_correlation() -> None:
    first, second = features(6, 7), features(6, 7, seed=1)
    expected = torch.corrcoef(torch.stack((first.flatten(), second.flatten())))[0, 1]
    assert correlation(first, second) == pytest.approx(float(expected))
    assert correlation(torch.ones(2, 3), torch.rand(2, 3)) == 0
