"""A network prepared for inference on the CPU gives the same result as the plain one."""

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from esc_cli.engine.executors.inference import for_inference, prepare_for_cpu
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.mixers.convolutional import ConvolutionalAttention

Networks = Callable[[NetworkConfig], nn.Module]

CONFIGS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8, inner_norm=True),
    ESCFPConfig(3, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCRealConfig(4, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCRIBConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8, bias_rank=4),
    InterpolationConfig(3, "bicubic"),
)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.float64, 1e-6)], ids=str)
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_the_result_stays(
    config: NetworkConfig, dtype: torch.dtype, tolerance: float, random_network: Networks
) -> None:
    plain = random_network(config).to(dtype)
    prepared = copy.deepcopy(plain)
    prepare_for_cpu(prepared)
    for shape in ((2, 3, 65, 70), (1, 3, 5, 40), (1, 3, 1, 1)):  # the first uses the spectral convolution
        low = torch.rand(shape, dtype=dtype)
        with torch.inference_mode():
            expected, result = plain(low), prepared(low)
        scale = expected.abs().max().item()
        torch.testing.assert_close(result, expected, rtol=0, atol=tolerance * max(scale, 1))


def test_bfloat16_is_as_near_to_the_truth_as_it_was(random_network: Networks) -> None:
    exact = random_network(CONFIGS[0])
    plain = copy.deepcopy(exact).bfloat16()
    prepared = copy.deepcopy(plain)
    prepare_for_cpu(prepared)
    low = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = exact(low)
        errors = [(network(low.bfloat16()) - expected).pow(2).mean() for network in (prepared, plain)]
    assert errors[0] < 1.2 * errors[1]


def test_every_mixer_shares_one_spectrum(random_network: Networks) -> None:
    network = random_network(CONFIGS[0])
    prepare_for_cpu(network)
    spectra = [module.spectrum for module in network.modules() if isinstance(module, ConvolutionalAttention)]
    assert len(spectra) == 2
    assert spectra[0] is spectra[1] is not None


@pytest.mark.parametrize(
    ("channels", "dtype", "capabilities", "direct"),
    [
        (16, torch.bfloat16, {"amx_bf16": True}, True),
        (32, torch.bfloat16, {"amx_bf16": True}, False),  # frequencies are faster: 3.7 ms against 6.7
        (16, torch.float32, {"amx_bf16": True}, False),
        (16, torch.bfloat16, {"avx512_bf16": True}, False),
    ],
)
def test_the_large_kernel_is_transformed_where_this_is_faster(
    channels: int,
    dtype: torch.dtype,
    capabilities: dict[str, bool],
    direct: bool,
    random_network: Networks,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    network = random_network(replace(CONFIGS[0], dim=64, partial_dim=channels))
    with torch.inference_mode(mode=False), torch.no_grad():
        prepared = for_inference(network, torch.device("cpu"), dtype)
    spectra = [module.spectrum for module in prepared.modules() if isinstance(module, ConvolutionalAttention)]
    assert all((spectrum is None) == direct for spectrum in spectra)
    low = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network(low)
        error = (prepared(low) - expected).abs().max()
    assert error < (1e-4 if dtype == torch.float32 else 0.05) * expected.abs().max()
