"""Flash attention stays within its tolerance or falls back to the exact kernel, on the CPU too."""

import copy
import sys
import types

import pytest
import torch
from torch import Tensor

from esc_cli.networks.attention.blocked import blocked
from esc_cli.networks.attention.factorised import attend_with_factors
from esc_cli.networks.attention.flash import SCORE_TOLERANCE, _flash_attn, flash
from esc_cli.networks.attention.logistic_weights import are_available
from esc_cli.networks.attention.position_bias import FactorBias, TableBias
from esc_cli.networks.attention.sdpa import sdpa
from esc_cli.networks.attention.windows import WindowAttention, naive, use_attention

WINDOW = 10


def tokens() -> list[Tensor]:
    return [torch.randn(2, 2, WINDOW**2, 16) for _ in range(3)]


def table(noise: float) -> TableBias:
    offsets = torch.arange(1 - WINDOW, WINDOW) / WINDOW
    smooth = torch.exp(-(offsets[:, None] ** 2) - offsets[None, :] ** 2).flatten().repeat(2, 1)
    return TableBias(smooth + noise * torch.randn(smooth.shape), WINDOW)


def test_a_smooth_table_is_approximated_within_the_tolerance() -> None:
    bias, (query, key, value) = table(noise=0.02), tokens()
    fast, exact = flash(query, key, value, bias), naive(query, key, value, bias)
    assert 0 < (fast - exact).abs().max() <= SCORE_TOLERANCE


def test_a_rich_table_is_computed_exactly() -> None:
    bias, (query, key, value) = table(noise=1), tokens()
    assert torch.equal(flash(query, key, value, bias), sdpa(query, key, value, bias))


@pytest.mark.parametrize("channels", [24, 32, 48, 64, 72, 128])
@pytest.mark.parametrize("size", [0.0, 1.0])
def test_heads_of_any_width_are_computed(channels: int, size: float) -> None:
    """A head that leaves no channels for factors gets them only if its bias needs none."""
    smooth = table(noise=0)
    bias = TableBias(size * smooth.table, WINDOW)
    query, key, value = (torch.randn(2, 2, WINDOW**2, channels) for _ in range(3))
    fast, exact = flash(query, key, value, bias), naive(query, key, value, bias)
    assert (fast - exact).abs().max() <= SCORE_TOLERANCE


@pytest.mark.skipif(not are_available(torch.device("cpu"), torch.bfloat16), reason="needs fused bfloat16")
def test_other_backends_may_read_the_same_table() -> None:
    bias = TableBias(table(noise=0).table.bfloat16(), WINDOW)
    query, key, value = (one.bfloat16() for one in tokens())
    with torch.inference_mode():
        alone = [attend(query, key, value, TableBias(bias.table, WINDOW)) for attend in (flash, blocked)]
        for attend, expected in zip((flash, blocked, flash), (*alone, alone[0]), strict=True):
            assert torch.equal(attend(query, key, value, bias), expected)


def test_a_table_in_training_gets_its_gradient() -> None:
    bias, (query, key, value) = table(noise=0), tokens()
    bias.table.requires_grad_()
    flash(query, key, value, bias).sum().backward()
    assert bias.table.grad is not None


def test_factors_follow_the_table() -> None:
    attention = WindowAttention(dim=16, heads=1, window_size=WINDOW).eval()
    use_attention(attention, "flash")
    features = torch.randn(1, 16, WINDOW, WINDOW)
    with torch.inference_mode():
        before = attention(features)
    with torch.no_grad():
        attention.relative_position_bias.copy_(table(noise=0).table[:1] * 3)
    with torch.inference_mode():
        after, of_copy = attention(features), copy.deepcopy(attention)(features)
        use_attention(attention, "naive")
        exact = attention(features)
    assert (before - exact).abs().max() > SCORE_TOLERANCE
    assert (after - exact).abs().max() <= SCORE_TOLERANCE
    assert torch.equal(of_copy, after)


def test_the_package_gets_tokens_before_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    # A fake with the package's documented interface: (batch, tokens, heads, channels).
    def flash_attn_func(query: Tensor, key: Tensor, value: Tensor, softmax_scale: float) -> Tensor:
        scores = torch.einsum("bqhc,bkhc->bhqk", query, key) * softmax_scale
        return torch.einsum("bhqk,bkhc->bqhc", scores.softmax(dim=-1), value)

    package = types.ModuleType("flash_attn")
    monkeypatch.setattr(package, "flash_attn_func", flash_attn_func, raising=False)
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    query, key, value = tokens()
    bias = FactorBias(torch.randn(2, WINDOW**2, 5), torch.randn(2, WINDOW**2, 5))
    attended = attend_with_factors(query, key, value, bias, kernel=_flash_attn)
    torch.testing.assert_close(attended, naive(query, key, value, bias), rtol=1e-4, atol=1e-5)


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_on_a_gpu(dtype: torch.dtype) -> None:
    bias = table(noise=0.02)
    query, key, value = (one.cuda().to(dtype) for one in tokens())
    on_gpu = TableBias(bias.table.cuda(), WINDOW)
    fast = flash(query, key, value, on_gpu).float().cpu()
    exact = naive(query.float(), key.float(), value.float(), on_gpu).cpu()
    assert (fast - exact).abs().max() <= 2 * SCORE_TOLERANCE
