import pytest
import torch

from esc_cli.errors import UsageError, WeightsError
from esc_cli.evaluation.benchmark.candidates import NetworkSource, Settings


def test_random_weights_are_the_same_each_time_and_none_is_idle() -> None:
    before = torch.get_rng_state()
    first, second = (NetworkSource("esc-light", 2, random_weights=True).load() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.scale, first.variant) == (2, "esc-light")
    pairs = list(zip(first.network.parameters(), second.network.parameters(), strict=True))
    assert all(torch.equal(*pair) for pair in pairs)
    assert all(weights.abs().max() > 0 for weights, _ in pairs)


def test_sources_that_are_not_there() -> None:
    with pytest.raises(WeightsError, match="no model"):
        NetworkSource("nonsense").load()
    with pytest.raises(UsageError, match="no variant 'nonsense'"):
        NetworkSource("nonsense", random_weights=True).load()
    with pytest.raises(UsageError, match="esc-real does not support x2"):
        NetworkSource("esc-real", 2, random_weights=True).load()


def test_what_became_of_auto_is_told() -> None:
    settings = Settings(attention="sdpa")
    chosen = settings.chosen(settings.upscaler(NetworkSource("nearest", 2).load(), "cpu"))
    assert chosen.attention == "sdpa"
    assert chosen.precision in ("float32", "bfloat16", "float16")
