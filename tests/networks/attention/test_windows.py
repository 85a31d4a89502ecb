"""Backends agree in values and in gradients, and a changed bias is never taken from the cache."""

import pytest
import torch
from torch import Tensor

from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.sdpa import sdpa
from esc_cli.networks.attention.windows import (
    ATTENTION_BACKENDS,
    WindowAttention,
    naive,
    use_attention,
)


def test_bias_of_a_pair_is_that_of_key_minus_query() -> None:
    window = 5
    table = torch.arange(2 * (2 * window - 1) ** 2, dtype=torch.float32).view(2, -1)
    bias = TableBias(table, window).dense(torch.float32).view(2, window, window, window, window)
    for query_row, query_column, key_row, key_column in ((0, 0, 4, 4), (4, 1, 0, 3), (2, 2, 2, 2)):
        row = key_row - query_row + window - 1
        column = key_column - query_column + window - 1
        expected = table[:, row * (2 * window - 1) + column]
        assert torch.equal(bias[:, query_row, query_column, key_row, key_column], expected)


def gradients(backend: str, inputs: list[Tensor], window: int) -> list[Tensor]:
    query, key, value, table = (tensor.clone().requires_grad_() for tensor in inputs)
    output = ATTENTION_BACKENDS[backend].attend(query, key, value, TableBias(table, window))
    output.sin().sum().backward()
    return [output.detach(), query.grad, key.grad, value.grad, table.grad]


def test_training_through_recomputed_scores_equals_naive() -> None:
    window = 6
    inputs = [torch.randn(3, 2, window**2, 8, dtype=torch.float64) for _ in range(3)]
    inputs.append(torch.randn(2, (2 * window - 1) ** 2, dtype=torch.float64))
    for fast, slow in zip(gradients("sdpa", inputs, window), gradients("naive", inputs, window), strict=True):
        torch.testing.assert_close(fast, slow)


@pytest.mark.parametrize("grad", [False, True])
def test_backends_agree_without_padding_windows(grad: bool) -> None:
    attention = WindowAttention(dim=16, heads=2, window_size=4)
    torch.nn.init.normal_(attention.relative_position_bias)
    features = torch.randn(2, 16, 9, 6)
    with torch.set_grad_enabled(grad):
        fast = attention(features)
        attention.backend = naive
        torch.testing.assert_close(fast, attention(features), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("least", [1, 5, 16])
def test_parts_of_the_queries_give_the_same(least: int, monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value = torch.randn(3, 3, 2, 16, 8)
    bias = TableBias(torch.randn(2, 49), 4)
    whole = sdpa(query, key, value, bias)
    torch.testing.assert_close(whole, naive(query, key, value, bias), rtol=1e-5, atol=1e-5)
    monkeypatch.setattr("esc_cli.networks.attention.sdpa.LEAST_QUERIES", least)
    monkeypatch.setattr("esc_cli.networks.attention.sdpa.CACHED_BIAS_BYTES", 0)
    parts = sdpa(query, key, value, bias)
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    assert parts.transpose(1, 2).is_contiguous()


def test_a_changed_table_is_seen() -> None:
    attention = WindowAttention(dim=16, heads=2, window_size=4)
    features = torch.randn(1, 16, 4, 4)
    with torch.inference_mode():
        before = attention(features)
    with torch.no_grad():
        attention.relative_position_bias.normal_()
    with torch.inference_mode():
        changed = attention(features)
        attention.backend = naive
        torch.testing.assert_close(changed, attention(features), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(before, changed)


def test_there_is_no_unknown_backend() -> None:
    with pytest.raises(KeyError):
        use_attention(WindowAttention(dim=16, heads=2, window_size=4), "nonsense")


def test_weights_made_in_inference_mode() -> None:
    with torch.inference_mode():
        attention = WindowAttention(dim=16, heads=2, window_size=4)
        features = torch.randn(1, 16, 4, 4)
        fast = attention(features)
        attention.backend = naive
        torch.testing.assert_close(fast, attention(features), rtol=1e-5, atol=1e-5)


def test_a_bias_kept_in_inference_mode_serves_gradients_later() -> None:
    attention = WindowAttention(16, 2, 4).requires_grad_(requires_grad=False)
    features = torch.rand(1, 16, 8, 8)
    with torch.inference_mode():
        attention(features)
    attention(features.requires_grad_()).sum().backward()
    assert features.grad is not None
