"""The steps of a block tell the runner their reach and their grid."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.runner import Whole

TINY = {"dim": 16, "partial_dim": 8, "blocks": 1, "mixers": 2}
FEED = (1, 1)


class Recorder(Whole):
    """Runs the steps on the whole picture and records their reach and their grid."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int]] = []

    def local(
        self, function: Callable[..., Tensor], *maps: Any, reach_px: int, align_px: int = 1, **how: Any
    ) -> Tensor:
        self.steps.append((reach_px, align_px))
        return super().local(function, *maps, reach_px=reach_px, **how)

    def pair(
        self, function: Callable[..., tuple[Tensor, Tensor]], *maps: Any, reach_px: int, **how: Any
    ) -> tuple[Tensor, Tensor]:
        self.steps.append((reach_px, 1))
        return super().pair(function, *maps, reach_px=reach_px, **how)


@pytest.mark.parametrize(
    ("config", "steps"),
    [
        (ESCConfig(2, **TINY, heads=2, window_size=8), [(0, 8), *2 * [FEED, (6, 1)]]),
        (ESCConfig(2, **TINY, heads=2, window_size=8, mixer="milk"), [(0, 8), *2 * [FEED, (6, 1)]]),
        (ESCConfig(2, **TINY, heads=2, window_size=8, mixer="window"), [(0, 8), *2 * [FEED, (0, 8)]]),
        (ESCConfig(2, **TINY, heads=0, window_size=1), [(0, 1), (6, 1), *2 * [FEED, (6, 1)]]),
        (
            ESCConfig(2, **TINY, heads=0, window_size=1, mixer="atconv", kernel_size=3),
            [(0, 1), (1, 1), *2 * [FEED, (1, 1)]],
        ),
    ],
)
def test_reach_and_grid_of_the_steps(config: ESCConfig, steps: list[tuple[int, int]]) -> None:
    network, recorder = build_network(config), Recorder()
    network(torch.rand(1, 3, 9, 9), recorder)
    assert recorder.steps == [(1, 1), FEED, *steps, (1, 1), (2, 1)]
