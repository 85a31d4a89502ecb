from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from esc_cli.checkpoints.averaging import average_weights
from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network

CONFIG = ESCConfig(2, dim=16, heads=1, blocks=1, mixers=1, window_size=8, first_hidden_dim=16, hidden_dim=16)

Make = Callable[..., Checkpoint]


@pytest.fixture
def filled() -> Make:
    """Make a checkpoint whose weights all have one value."""

    def make(value: float, config: ESCConfig = CONFIG) -> Checkpoint:
        network = build_network(config)
        for weight in network.parameters():
            nn.init.constant_(weight, value)
        return Checkpoint(network, config, config.scale, f"{value:g}.pth", "ESC", "made by a test", "digest")

    return make


def test_every_weight_is_the_mean(filled: Make) -> None:
    one, two = filled(1.0), filled(2.0)
    average = average_weights([one, two, two])
    assert average.keys() == one.network.state_dict().keys()
    for key, weights in one.network.state_dict().items():
        assert torch.equal(average[key], torch.full_like(weights, 5 / 3))


def test_of_one_or_of_equal_ones_it_is_those(filled: Make) -> None:
    for count in (1, 7):
        average = average_weights([filled(0.1)] * count)
        assert all(torch.equal(weights, torch.full_like(weights, 0.1)) for weights in average.values())


def test_it_is_a_state_dict_of_the_network_and_a_copy(filled: Make) -> None:
    one = filled(1.0)
    average = average_weights([one])
    network = build_network(CONFIG)
    network.load_state_dict(average)
    next(iter(average.values())).zero_()
    assert all(bool((weights == 1).all()) for weights in one.network.state_dict().values())


def test_different_networks_have_no_mean(filled: Make) -> None:
    with pytest.raises(WeightsError, match=r"'1.pth' \(ESC x2\) and '2.pth' \(ESC x4\) are different"):
        average_weights([filled(1), filled(2, replace(CONFIG, scale=4))])
    with pytest.raises(WeightsError, match="different networks"):
        average_weights([filled(1), filled(2, replace(CONFIG, mixers=2))])


def test_a_baseline_has_no_weights() -> None:
    with pytest.raises(WeightsError, match="'bicubic' has no weights"):
        average_weights([load_checkpoint("bicubic", 2)])
