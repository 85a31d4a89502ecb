"""Attentive Convolution agrees with torch's pooling and with the output of its published code."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional as F

from esc_cli.networks.mixers.attentive import AttentiveConvolution, equal_bands


@given(st.integers(1, 200), st.integers(1, 25))
def test_bands_are_those_of_adaptive_pooling(length: int, count: int) -> None:
    values = torch.randn(1, 1, length, dtype=torch.float64)
    means = [values[..., band.start : band.stop].mean() for band in equal_bands(length, count)]
    torch.testing.assert_close(torch.stack(means), F.adaptive_avg_pool1d(values, count)[0, 0])


@settings(max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 5]))
def test_kernels_are_made_as_published(height: int, width: int, size: int) -> None:
    """The published code projects every pixel first and then pools."""
    mixer = AttentiveConvolution(4, size).double()
    nn.init.normal_(mixer.difference_control)
    features = torch.randn(2, 4, height, width, dtype=torch.float64)
    with torch.inference_mode():
        projected = mixer.kernel_proj(features).flatten(2)
        routed = mixer.kernel_gen(F.gelu(F.adaptive_avg_pool1d(projected, size**2)))
        inhibition = mixer.difference_control.sigmoid().view(1, 4, 1) * routed.mean(-1, keepdim=True)
        kernels = mixer.dynamic_kernels(features)
    expected = (routed - inhibition).view(8, 1, size, size)
    torch.testing.assert_close(kernels, expected, rtol=1e-5, atol=1e-5)  # pooled in float32


def test_at_the_start_half_of_the_mean_is_taken_away() -> None:
    mixer, features = AttentiveConvolution(4), torch.randn(1, 4, 9, 9)
    with torch.inference_mode():
        inhibited = mixer.dynamic_kernels(features).mean(dim=(1, 2, 3))
        nn.init.constant_(mixer.difference_control, -torch.inf)
        plain = mixer.dynamic_kernels(features).mean(dim=(1, 2, 3))
    torch.testing.assert_close(inhibited, plain / 2)


def test_equals_reference(vector_path: Callable[[str], Path]) -> None:
    mixer = AttentiveConvolution(16)
    mixer.load_state_dict(load_file(vector_path("atconv_c16.safetensors")))
    vector = np.load(vector_path("atconv_c16.npz"))
    features, expected = torch.from_numpy(vector["input"]), torch.from_numpy(vector["output"])
    with torch.inference_mode():
        together = mixer(features)
        singles = torch.cat([mixer(one) for one in features.split(1)])
    assert (together - expected).abs().max() <= 1e-4
    assert (singles - expected).abs().max() <= 1e-4
