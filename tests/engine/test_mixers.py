"""ESC with other mixers works in strips, in half precision, and prepared for the CPU or for OpenVINO."""

import copy
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from esc_cli.engine.executors.inference import prepare_for_cpu
from esc_cli.engine.executors.openvino_graph import prepare_for_openvino
from esc_cli.engine.tiling.streaming import Strips
from esc_cli.networks.architectures.esc import ESCConfig

Networks = Callable[[ESCConfig], nn.Module]
InStrips = Callable[[nn.Module, Tensor, Strips], Tensor]

WINDOW_PX = 8
TINY = {"dim": 16, "partial_dim": 8, "heads": 2, "blocks": 2, "mixers": 2, "window_size": WINDOW_PX}
NETWORKS: dict[str, ESCConfig] = {
    "milk": ESCConfig(2, **TINY, mixer="milk"),
    "atconv": ESCConfig(3, **TINY, mixer="atconv", kernel_size=3),
    "window": ESCConfig(2, **TINY, mixer="window"),
    "static": ESCConfig(2, **TINY, mixer="static"),
    "own kernels": ESCConfig(2, **TINY, shared_kernel=False, kernel_size=17),
    "no attention": ESCConfig(2, **{**TINY, "heads": 0, "window_size": 1}),
    "no attention, atconv": ESCConfig(2, **{**TINY, "heads": 0, "window_size": 1}, mixer="atconv"),
}


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("name", NETWORKS)
def test_strips_equal_the_whole(name: str, random_network: Networks, streamed: InStrips) -> None:
    config = NETWORKS[name]
    network = random_network(config).double()

    @settings(max_examples=8)
    @given(st.integers(1, 40), st.integers(1, 20), st.integers(1, 30), st.integers(1, 2))
    def check(height: int, width: int, rows: int, batch: int) -> None:
        window_px = config.window_size
        low = torch.rand(batch, 3, -(-height // window_px) * window_px, width, dtype=torch.float64)
        with torch.inference_mode():
            whole = network(low)
            strips = streamed(network, low, Strips(WINDOW_PX, -(-rows // WINDOW_PX) * WINDOW_PX))
        # Pooled values are summed in float32. A wrong reach or band causes errors of 1e-3 and above.
        torch.testing.assert_close(strips, whole, rtol=1e-5, atol=1e-5)

    check()


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_in_strips_is_as_near_to_the_truth(
    name: str, random_network: Networks, streamed: InStrips
) -> None:
    exact = random_network(NETWORKS[name])
    rounded = copy.deepcopy(exact).bfloat16()
    low = torch.rand(1, 3, 40, 24)
    with torch.inference_mode():
        truth = exact(low)
        whole, strips = rounded(low), streamed(rounded, low, Strips(WINDOW_PX, WINDOW_PX))
    errors = [(high - truth).square().mean() for high in (strips, whole)]
    assert 0 < errors[0] < 1.2 * errors[1]


@pytest.mark.parametrize("name", NETWORKS)
def test_prepared_for_the_cpu_it_is_the_same_network(name: str, random_network: Networks) -> None:
    plain = random_network(NETWORKS[name])
    prepared = copy.deepcopy(plain)
    prepare_for_cpu(prepared)
    for shape in ((2, 3, 65, 70), (1, 3, 5, 40), (1, 3, 1, 1)):  # the first uses the spectral convolution
        low = torch.rand(shape)
        with torch.inference_mode():
            expected, result = plain(low), prepared(low)
        largest = max(expected.abs().max().item(), 1)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-4 * largest)


@pytest.mark.parametrize("name", [name for name, config in NETWORKS.items() if config.heads])
def test_prepared_for_openvino_it_is_the_same_network(name: str, random_network: Networks) -> None:
    network = random_network(NETWORKS[name])
    low = torch.rand(2, 3, 21, 50)
    with torch.inference_mode():
        expected, result = network(low), prepare_for_openvino(network, torch.float32)(low)
    largest = max(expected.abs().max().item(), 1)
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5 * largest)
