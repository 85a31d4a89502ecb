"""Gradients through the logistic function are compared with those of the formula in float64."""

import pytest
import torch
from torch import Tensor

from esc_cli.networks.attention.logistic_weights import are_available, blocked_with_gradients
from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.recomputed import recomputed_attention
from esc_cli.networks.attention.sdpa import sdpa
from esc_cli.networks.attention.windows import naive

pytestmark = pytest.mark.skipif(
    not are_available(torch.device("cpu"), torch.bfloat16), reason="this processor has no fused bfloat16"
)
WINDOW, HEADS, CHANNELS = 12, 2, 8


def inputs(sharpness: float = 1) -> list[Tensor]:
    """Return query, key and value, with the strides that a projection leaves, and a table."""
    torch.manual_seed(0)
    tokens = torch.randn(5, WINDOW**2, 3, HEADS, CHANNELS).bfloat16().permute(2, 0, 3, 1, 4)
    return [tokens[0] * sharpness, tokens[1], tokens[2], torch.randn(HEADS, (2 * WINDOW - 1) ** 2)]


def recomputed(query: Tensor, key: Tensor, value: Tensor, bias: TableBias) -> Tensor:
    return recomputed_attention(query, key, value, bias.dense(torch.float32))


def output_and_gradients(attention: object, tensors: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    wide = torch.promote_types(dtype, torch.float32)
    query, key, value = (one.detach().to(dtype).requires_grad_() for one in tensors[:3])
    table = tensors[3].clone().to(wide).requires_grad_()
    output = attention(query, key, value, TableBias(table, WINDOW))  # type: ignore[operator]
    weights = torch.linspace(-1, 1, output.numel()).view(output.shape).to(dtype)
    (output * weights).sum().backward()
    return [output.detach(), query.grad, key.grad, value.grad, table.grad]


def errors(found: list[Tensor], exact: list[Tensor]) -> list[float]:
    return [((one - other).norm() / other.norm()).item() for one, other in zip(found, exact, strict=True)]


@pytest.mark.parametrize("sharpness", [0.1, 1, 2])
def test_errors_are_of_the_order_of_those_of_torch_s_kernel(sharpness: float) -> None:
    tensors = inputs(sharpness)
    exact = output_and_gradients(naive, tensors, torch.float64)
    ours, torch_s = (
        errors(output_and_gradients(attention, tensors, torch.bfloat16), exact)
        for attention in (blocked_with_gradients, recomputed)
    )
    assert 0 < ours[0] < 2.5 * torch_s[0]  # the output
    assert all(0 < one < 1.2 * other for one, other in zip(ours[1:], torch_s[1:], strict=True))


def test_training_in_bfloat16_takes_this_way() -> None:
    tensors = inputs()
    ways = (sdpa, blocked_with_gradients)
    first, second = (output_and_gradients(way, tensors, torch.bfloat16) for way in ways)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_what_cannot_be_computed_so_is_recomputed() -> None:
    far_apart = inputs(sharpness=100)
    bias = TableBias(far_apart[3], WINDOW)
    assert blocked_with_gradients(*far_apart[:3], bias) is None
    assert blocked_with_gradients(*(one.float() for one in inputs()[:3]), bias) is None
    steep = TableBias(torch.linspace(-180, 0, far_apart[3].numel()).view(HEADS, -1), WINDOW)
    assert blocked_with_gradients(*inputs()[:3], steep) is None
    found = output_and_gradients(sdpa, far_apart, torch.bfloat16)
    assert all(
        torch.equal(one, other)
        for one, other in zip(found, output_and_gradients(recomputed, far_apart, torch.bfloat16), strict=True)
    )


def test_windows_do_not_depend_on_each_other() -> None:
    query, key, value, table = inputs()
    bias = TableBias(table, WINDOW)
    together = blocked_with_gradients(query, key, value, bias)
    alone = blocked_with_gradients(query[:1], key[:1], value[:1], bias)
    assert together is not None
    assert alone is not None
    assert torch.equal(together[:1], alone)
