"""MiLK-ConvAttn agrees with its description, step by step, and with the output of its published code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.mixers.milk import MiLKConvolutionalAttention


def random_mixer(**widths: int) -> MiLKConvolutionalAttention:
    mixer = MiLKConvolutionalAttention(8, 5, **widths).double()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return mixer


def step_by_step(mixer: MiLKConvolutionalAttention, features: Tensor, external: Tensor | None) -> Tensor:
    """Mix one sample (1, 8, H, W) with one convolution for each term of the description."""
    mean = features[:, : mixer.context_dim].mean((2, 3), keepdim=True)
    weights = mixer.router(mean).view(8, -1).softmax(dim=1)
    large_gate, small_gate = mixer.gate(mean).view(2, 8).softmax(dim=0).view(2, 8, 1, 1)
    planes = []
    for channel in range(8):
        plane = features[:, channel : channel + 1]
        base_maps = [F.conv2d(plane, base[None], padding=2) for base in mixer.lk_bases]
        large = sum(weight * one for weight, one in zip(weights[channel], base_maps, strict=True))
        small_kernel = mixer.dwc_proj(mean).view(8, 1, 1, 3, 3)[channel]
        if external is not None:
            large = large + F.conv2d(features[:, :8], external[channel : channel + 1], padding=2)
        small = F.conv2d(plane, small_kernel, padding=1)
        planes.append(large_gate[channel] * large + small_gate[channel] * small)
    mixed = mixer.fuse(torch.cat(planes, dim=1)) + features[:, :8]
    return torch.cat((mixed, features[:, 8:]), dim=1)


@pytest.mark.parametrize("with_external", [False, True])
@pytest.mark.parametrize("context_dim", [8, 11])
def test_is_what_is_described(context_dim: int, with_external: bool) -> None:
    mixer = random_mixer(bases=3, context_dim=context_dim)
    external = torch.randn(8, 8, 5, 5, dtype=torch.float64) if with_external else None
    features = torch.randn(1, 12, 9, 7, dtype=torch.float64)
    with torch.inference_mode():
        expected = step_by_step(mixer, features, external)
        result = mixer(features) if external is None else mixer(features, external)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)  # the mean is summed in float32


def test_at_the_start_it_changes_little() -> None:
    features = torch.randn(2, 16, 20, 20)
    mixer = MiLKConvolutionalAttention(16)
    nn.init.zeros_(mixer.fuse.bias)
    with torch.inference_mode():
        change = mixer(features) - features
    assert 0 < change.std() < 0.1 * features.std()


@pytest.mark.parametrize("name", ["milk_convattn", "milk_convattn_external_kernel"])
def test_equals_reference(vector_path: Callable[[str], Path], name: str) -> None:
    mixer = MiLKConvolutionalAttention(16, 13, bases=8, context_dim=24)
    mixer.load_state_dict(load_file(vector_path(f"{name}.safetensors")))
    vector = {key: torch.from_numpy(value) for key, value in np.load(vector_path(f"{name}.npz")).items()}
    features, expected = vector["input"], vector["output"]
    external = (vector["large_kernel"],) if "large_kernel" in vector else ()
    with torch.inference_mode():
        together = mixer(features, *external)
        singles = torch.cat([mixer(one, *external) for one in features.split(1)])
    assert (together - expected).abs().max() <= 1e-4
    assert (singles - expected).abs().max() <= 1e-4
