import math

import pytest
import torch

from esc_cli.engine.upscaler import Upscaler
from esc_cli.evaluation.benchmark.candidates import NetworkSource
from esc_cli.evaluation.benchmark.deviation import deviation, exact_result
from esc_cli.networks.attention.windows import use_attention


def test_figures() -> None:
    exact = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float64)
    result = exact.float()
    assert deviation(result, exact).psnr == math.inf
    result[0, 0, 0, 0] += 0.25
    found = deviation(result, exact)
    assert found.largest == 0.25
    assert found.psnr == pytest.approx(-10 * math.log10(0.25**2 / 12))


@pytest.mark.parametrize("attention", ["naive", "sdpa"])
def test_exact_is_what_the_engine_comes_close_to(attention: str) -> None:
    checkpoint = NetworkSource("esc-light", 2, random_weights=True).load()
    use_attention(checkpoint.network, attention)
    low = torch.rand(1, 3, 20, 33)
    exact = exact_result(checkpoint, low)
    assert (exact.dtype, exact.shape) == (torch.float64, (1, 3, 40, 66))
    assert (exact.min(), exact.max()) >= (0, 0)
    upscaled = Upscaler(checkpoint, scale=2, device="cpu", precision="float32", tiling="none")(low)
    assert 0 < deviation(upscaled, exact).largest < 1e-4
    assert next(checkpoint.network.parameters()).dtype == torch.float32
