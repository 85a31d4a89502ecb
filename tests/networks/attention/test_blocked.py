"""Attention through the logistic function is compared with the formula in float64."""

import pytest
import torch
from torch import Tensor

from esc_cli.networks.attention.blocked import blocked
from esc_cli.networks.attention.logistic_weights import are_available
from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.sdpa import sdpa
from esc_cli.networks.attention.windows import naive

pytestmark = pytest.mark.skipif(
    not are_available(torch.device("cpu"), torch.bfloat16), reason="this processor has no fused bfloat16"
)
WINDOW, HEADS = 16, 2


def inputs(sharpness: float) -> tuple[tuple[Tensor, Tensor, Tensor], TableBias]:
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 5, HEADS, WINDOW**2, 16).bfloat16().unbind()
    table = torch.randn(HEADS, (2 * WINDOW - 1) ** 2).bfloat16()
    return (query * sharpness, key, value), TableBias(table, WINDOW)


def mean_errors(sharpness: float) -> tuple[float, float, float]:
    tokens, bias = inputs(sharpness)
    exact = naive(*(one.double() for one in tokens), TableBias(bias.table.double(), WINDOW))
    with torch.inference_mode():
        results = blocked(*tokens, bias), sdpa(*tokens, bias)
    first, second = ((one.double() - exact).abs().mean().item() for one in results)
    return first, second, exact.abs().mean().item()


@pytest.mark.parametrize("sharpness", [0.1, 1, 3])
def test_errors_are_of_the_order_of_torch_s_own(sharpness: float) -> None:
    error, of_torch, size = mean_errors(sharpness)
    assert 0 < error < 4 * of_torch
    assert error < 0.01 * size


def test_scores_too_far_apart_are_left_to_torch() -> None:
    tokens, bias = inputs(100)
    with torch.inference_mode():
        assert torch.equal(blocked(*tokens, bias), sdpa(*tokens, bias))


def test_biases_too_far_apart_are_left_to_torch() -> None:
    tokens, _ = inputs(1)
    bias = TableBias(torch.linspace(-180, 0, 2 * (2 * WINDOW - 1) ** 2).view(2, -1).bfloat16(), WINDOW)
    with torch.inference_mode():
        assert torch.equal(blocked(*tokens, bias), sdpa(*tokens, bias))


def test_windows_do_not_depend_on_each_other() -> None:
    (query, key, value), bias = inputs(1)
    with torch.inference_mode():
        before = blocked(query, key, value, bias)
        query[3] *= 2
        after = blocked(query, key, value, bias)
    assert torch.equal(before[:3], after[:3])
    assert not torch.equal(before[3], after[3])


def test_a_changed_table_is_seen() -> None:
    tokens, bias = inputs(1)
    with torch.inference_mode():
        before = blocked(*tokens, bias)
    with torch.no_grad():
        bias.table.neg_()
    with torch.inference_mode():
        after = blocked(*tokens, bias)
        torch.testing.assert_close(after, sdpa(*tokens, bias), rtol=0.02, atol=0.02)
    assert not torch.allclose(before, after, atol=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_precisions_are_left_to_torch(dtype: torch.dtype) -> None:
    tokens, bias = inputs(1)
    wide = [one.to(dtype) for one in tokens]
    with torch.inference_mode():
        assert torch.equal(blocked(*wide, bias), sdpa(*wide, bias))
