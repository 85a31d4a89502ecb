"""Fixtures for the analyses: a small network with attention, and pictures for it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from esc_cli.networks.architectures.esc import ESC, ESCConfig

WINDOW_PX = 8


@pytest.fixture
def network() -> ESC:
    """Return an ESC network of two blocks with random weights, for a scale of 2."""
    config = ESCConfig(
        2, dim=32, partial_dim=8, heads=2, blocks=2, mixers=1, window_size=WINDOW_PX, first_hidden_dim=32,
        hidden_dim=32, kernel_size=5,
    )  # fmt: skip
    network = ESC(config)
    for weights in network.parameters():
        if weights.abs().max() == 0:
            nn.init.normal_(weights, std=0.02)
    return network.eval()


@pytest.fixture
def save_network(tmp_path: Path) -> Callable[[nn.Module], Path]:
    def save(network: nn.Module) -> Path:
        path = tmp_path / "network.safetensors"
        save_file({key: value.detach().clone() for key, value in network.state_dict().items()}, path)
        return path

    return save


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Save six different pictures of three sizes. At half size, their largest common crop is 11x12 pixels."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    random = np.random.default_rng(0)
    for number, size in enumerate([(22, 40), (30, 24), (23, 25)] * 2):
        pixels = random.integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / ("sub" if number % 2 else "") / f"{number}.png")
    return folder
