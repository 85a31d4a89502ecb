import math
from collections.abc import Iterator

import pytest
import torch

from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import DeviceError
from esc_cli.evaluation.benchmark.candidates import NetworkSource
from esc_cli.evaluation.benchmark.measurement import (
    Run,
    Timing,
    deviation,
    exact_result,
    measure,
    multiply_accumulates,
)
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.registry import VARIANTS
from esc_cli.networks.attention.windows import use_attention


def recorder(log: list[str], name: str) -> Run:
    return lambda: log.append(name)


def timings(found: list[Timing | Exception]) -> list[Timing]:
    return [timing for timing in found if isinstance(timing, Timing)]


def test_everybody_runs_once_in_each_round() -> None:
    log: list[str] = []
    found = measure([recorder(log, name) for name in "abc"], warm_up=1, rounds=3)
    assert "".join(log) == "abc" * 4
    assert [len(timing.rounds_s) for timing in timings(found)] == [3, 3, 3]


def test_warm_up_and_what_comes_between_are_not_counted() -> None:
    now = 0.0
    takes: dict[str, Iterator[float]] = {"a": iter([100, 1, 2, 9]), "b": iter([200, 10, 20, 30])}

    def run(name: str) -> Run:
        def advance() -> None:
            nonlocal now
            now += next(takes[name])

        return advance

    def pause() -> None:
        nonlocal now
        now += 1000

    found = measure([run("a"), run("b")], warm_up=1, rounds=3, clock=lambda: now, finished_run=pause)
    assert [timing.rounds_s for timing in timings(found)] == [(1, 2, 9), (10, 20, 30)]


def test_who_fails_is_left_out_and_the_others_go_on() -> None:
    log: list[str] = []

    def fail_the_second_time() -> None:
        log.append("f")
        if log.count("f") == 2:
            raise DeviceError("out of luck")

    found = measure([fail_the_second_time, recorder(log, "a")], warm_up=1, rounds=3)
    assert "".join(log) == "fafaaa"
    assert isinstance(found[0], DeviceError)
    assert len(timings(found)[0].rounds_s) == 3


def test_figures_of_a_timing() -> None:
    timing = Timing((4.0, 1.0, 3.0, 2.0, 10.0))
    assert timing.median_s == 3.0
    assert timing.quartiles_s == (2.0, 4.0)
    # The ratios, round by round, are 4, 1/2, 3, 1, 2. The ratio of the medians would be 3 / 1.
    assert timing.multiple_of(Timing((1.0, 2.0, 1.0, 2.0, 5.0))) == 2.0
    assert Timing((7.0,)).quartiles_s == (7.0, 7.0)


def test_rounds_must_be_the_same() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Timing((1.0, 2.0)).multiple_of(Timing((1.0,)))


def test_figures_of_a_deviation() -> None:
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


# Source: arXiv 2503.06671, table 2: 10^9 multiply-accumulates, for results of 1280x720 pixels.
PUBLISHED = {
    "esc": (592.0, 267.6, 149.2),
    "esc-light": (359.4, 162.8, 91.0),
    "esc-fp": (239.8, 110.0, 60.8),
}
CASES = [(name, scale, PUBLISHED[name][scale - 2]) for name in PUBLISHED for scale in (2, 3, 4)]


@pytest.mark.parametrize(("name", "scale", "published"), CASES)
def test_as_published(name: str, scale: int, published: float) -> None:
    counted = multiply_accumulates(VARIANTS[name](scale), 720 // scale, 1280 // scale)
    assert round(counted / 10**9, 1) == published


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_tiny_multiplies_a_quarter_as_much_as_light(scale: int) -> None:
    light, tiny = (
        multiply_accumulates(VARIANTS[name](scale), 720 // scale, 1280 // scale)
        for name in ("esc-light", "esc-tiny")
    )
    assert tiny < light / 4


def test_what_multiplies_nothing() -> None:
    assert multiply_accumulates(InterpolationConfig(4, "nearest"), 180, 320) == 0
