"""The compiled kernel looks up the same biases that the dense form contains."""

import shutil

import pytest
import torch

from esc_cli.networks.attention.flex import _attend, flex
from esc_cli.networks.attention.position_bias import FactorBias, TableBias
from esc_cli.networks.attention.windows import naive

WINDOW = 5


def inputs(device: str = "cpu") -> tuple[list[torch.Tensor], TableBias]:
    tokens = [torch.randn(2, 2, WINDOW**2, 16, device=device) for _ in range(3)]
    return tokens, TableBias(torch.randn(2, (2 * WINDOW - 1) ** 2, device=device), WINDOW)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_lookup_is_that_of_the_dense_bias() -> None:
    tokens, bias = inputs()
    # Without compilation, torch runs the same arithmetic slowly.
    torch.testing.assert_close(_attend(*tokens, bias.table, WINDOW), naive(*tokens, bias))


def test_factors_need_no_lookup() -> None:
    tokens, _ = inputs()
    bias = FactorBias(torch.randn(2, WINDOW**2, 3), torch.randn(2, WINDOW**2, 3))
    torch.testing.assert_close(flex(*tokens, bias), naive(*tokens, bias), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns while it compiles
@pytest.mark.cuda
def test_compiled_on_a_gpu() -> None:
    tokens, bias = inputs("cuda")
    torch.testing.assert_close(flex(*tokens, bias), naive(*tokens, bias), rtol=1e-3, atol=1e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns while it compiles
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_compiled_on_the_cpu() -> None:
    tokens, bias = inputs()
    with torch.inference_mode():
        torch.testing.assert_close(flex(*tokens, bias), naive(*tokens, bias), rtol=1e-4, atol=1e-4)
