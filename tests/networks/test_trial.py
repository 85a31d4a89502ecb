"""The memory of a network is measured on small pictures."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.architectures.foreign import ForeignConfig, ForeignNetwork
from esc_cli.networks.trial import MARGIN, try_network

CONFIG = ForeignConfig(2, "test")


def test_values_alive_at_once_are_counted() -> None:
    first, second, last = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 1), nn.Conv2d(32, 12, 1)

    def network(low: Tensor) -> Tensor:
        features = second(first(low))  # 48 channels alive, then 44, and 56 in the end
        return F.pixel_shuffle(last(features.relu_()), 2)

    trial = try_network(network, CONFIG)
    assert trial.values_per_pixel == MARGIN * 56
    assert (trial.values_per_square, trial.factors) == (0, (2, 2))


def test_a_view_is_not_counted_twice() -> None:
    trial = try_network(lambda low: (low + 1).flip(2)[..., ::2, :].permute(0, 1, 3, 2), CONFIG)
    assert trial.values_per_pixel == pytest.approx(MARGIN * 6, abs=0.5)


def test_attention_over_the_whole_picture_grows_with_the_square() -> None:
    def network(low: Tensor) -> Tensor:
        tokens = low.flatten(2).mT  # (1, pixels, 3)
        return ((tokens @ tokens.mT) @ tokens).mT.reshape(low.shape)

    trial = try_network(network, CONFIG)
    assert trial.values_per_square == pytest.approx(MARGIN, rel=0.01)


@pytest.mark.parametrize(("square", "smallest_px", "size"), [(False, 1, (8, 24)), (True, 40, (40, 40))])
def test_a_picture_is_padded_to_a_size_that_the_network_accepts(
    square: bool, smallest_px: int, size: tuple[int, int]
) -> None:
    config = ForeignConfig(1, "test", window_size=8, smallest_px=smallest_px, square=square)
    seen = []

    def call(model: nn.Module, low: Tensor) -> Tensor:
        seen.append(tuple(low.shape[-2:]))
        return low.clone()

    low = torch.rand(2, 3, 5, 20)
    assert torch.equal(ForeignNetwork(nn.Identity(), call, config)(low), low)
    assert seen == [size]
