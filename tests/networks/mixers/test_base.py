"""Every mixer takes any batch, passes other channels through, and gives the same result in strips."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from esc_cli.networks.mixers.attentive import AttentiveConvolution
from esc_cli.networks.mixers.base import Mixer
from esc_cli.networks.mixers.convolutional import (
    ConvolutionalAttention,
    DecomposedConvolutionalAttention,
    StaticConvolutionalAttention,
)
from esc_cli.networks.mixers.milk import MiLKConvolutionalAttention
from esc_cli.networks.mixers.window import WindowMixer

CHANNELS = 8
SHARED = torch.randn(CHANNELS, CHANNELS, 5, 5, generator=torch.Generator().manual_seed(0)).double()
MIXERS: dict[str, tuple[Callable[[], Mixer], tuple[Tensor, ...]]] = {
    "convolutional": (lambda: ConvolutionalAttention(CHANNELS, 5), (SHARED,)),
    "own kernel": (lambda: ConvolutionalAttention(CHANNELS, 5, own_kernel=True), ()),
    "static": (lambda: StaticConvolutionalAttention(CHANNELS, 5), (SHARED,)),
    "decomposed": (
        lambda: DecomposedConvolutionalAttention(CHANNELS, 5),
        (SHARED[..., :1, :1].contiguous(), SHARED[:, :1].contiguous()),
    ),
    "milk": (lambda: MiLKConvolutionalAttention(CHANNELS, 5, bases=3), ()),
    "milk, wide context": (lambda: MiLKConvolutionalAttention(CHANNELS, 5, context_dim=11), ()),
    "milk, external": (lambda: MiLKConvolutionalAttention(CHANNELS, 5), (SHARED,)),
    "atconv": (lambda: AttentiveConvolution(CHANNELS), ()),
    "atconv 5x5": (lambda: AttentiveConvolution(CHANNELS, 5), ()),
    "window": (lambda: WindowMixer(CHANNELS, 2, 4), ()),
}


class Rows:
    """A runner that pools strip by strip."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def statistics(
        self,
        accumulate: Callable[[Tensor, int], Tensor],
        finish: Callable[[Tensor], Tensor],
        features: Tensor,
    ) -> Tensor:
        starts = range(0, features.shape[2], self.rows)
        return finish(sum(accumulate(features[:, :, start : start + self.rows], start) for start in starts))


def random_mixer(name: str) -> Mixer:
    torch.manual_seed(0)
    mixer = MIXERS[name][0]().double().eval()
    for parameter in mixer.parameters():
        nn.init.normal_(parameter, std=0.5)  # layers of zeros would hide errors
    return mixer


def in_strips(
    mixer: Mixer, features: Tensor, dynamic: Tensor, shared: tuple[Tensor, ...], rows: int
) -> Tensor:
    """Mix strips of rows. Each has a halo of only as many rows as the mixer says that it reads."""
    height, reach = features.shape[2], mixer.reach_px
    rows = -(-rows // mixer.align_px) * mixer.align_px
    strips = []
    for start in range(0, height, rows):
        top, stop = max(0, start - reach), min(height, start + rows)
        mixed = mixer.mix(features[:, :CHANNELS, top : stop + reach], dynamic, *shared)
        strips.append(mixed[:, :, start - top : stop - top])
    return torch.cat((torch.cat(strips, dim=2), features[:, CHANNELS:]), dim=1)


@pytest.mark.parametrize("name", MIXERS)
def test_strips_equal_the_whole(name: str) -> None:
    mixer, shared = random_mixer(name), MIXERS[name][1]
    external = shared if name == "milk, external" else ()

    @settings(max_examples=25)
    @given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 20), st.integers(1, 12), st.integers(0, 4))
    def check(batch: int, height: int, width: int, rows: int, more: int) -> None:
        if mixer.align_px > 1:
            height = -(-height // mixer.align_px) * mixer.align_px  # attention pads other heights
        features = torch.randn(batch, 12 + more, height, width, dtype=torch.float64)
        with torch.inference_mode():
            whole = mixer(features, *shared)
            dynamic = mixer.dynamic_kernels(features, Rows(rows), *external)  # type: ignore[arg-type]
            strips = in_strips(mixer, features, dynamic, shared, rows)
        # Values are pooled in float32. A wrong reach or band causes errors of 1e-2 and above.
        torch.testing.assert_close(strips, whole, rtol=1e-5, atol=1e-5)
        assert torch.equal(whole[:, CHANNELS:], features[:, CHANNELS:])

    check()


@pytest.mark.parametrize("name", MIXERS)
def test_a_batch_is_its_singles(name: str) -> None:
    mixer, shared = random_mixer(name), MIXERS[name][1]
    features = torch.randn(3, 12, 9, 7, dtype=torch.float64)
    before = features.clone()
    with torch.inference_mode():
        singles = torch.cat([mixer(one, *shared) for one in features.split(1)])
        torch.testing.assert_close(mixer(features, *shared), singles)
    assert torch.equal(features, before)


@pytest.mark.parametrize("name", MIXERS)
def test_every_parameter_is_trained(name: str) -> None:
    mixer, shared = random_mixer(name), MIXERS[name][1]
    features = torch.randn(2, 12, 9, 7, dtype=torch.float64, requires_grad=True)
    mixer(features, *shared).square().mean().backward()
    assert all(one.grad is not None and one.grad.any() for one in mixer.parameters())
