"""Fixtures for checkpoints: a small network and its state dict."""

import pytest
from torch import Tensor, nn

from esc_cli.networks.architectures.esc import ESC, ESCConfig

SMALL = ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=2, mixers=1, window_size=8, kernel_size=9)


@pytest.fixture
def network() -> nn.Module:
    return ESC(SMALL)


@pytest.fixture
def state(network: nn.Module) -> dict[str, Tensor]:
    return network.state_dict()
