"""Fixtures for the engine: networks with a known result that fail on demand, and random pictures."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.tiling import streaming
from esc_cli.engine.tiling.streaming import Strips
from esc_cli.engine.tiling.tiles import Span
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.interpolation import Interpolation, InterpolationConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

COLUMN_PX = 8
"""Side of the attention windows of the small test networks, in pixels."""

Fault = Callable[[int, Tensor], None]
"""Takes the number of the call, counted from 1, and its input. Raises the error to simulate."""


@dataclass
class Runs:
    """A record of each call of a ``Watched`` network and of all its copies."""

    shapes: list[tuple[int, int]] = field(default_factory=list)
    dtypes: list[torch.dtype] = field(default_factory=list)
    finished: list[bool] = field(default_factory=list)

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    @contextmanager
    def record(self, low: Tensor, dtype: torch.dtype) -> Iterator[int]:
        self.shapes.append((low.shape[-2], low.shape[-1]))
        self.dtypes.append(dtype)
        self.finished.append(False)
        yield len(self.shapes)
        self.finished[-1] = True

    def finished_px(self) -> int:
        return sum(h * w for (h, w), done in zip(self.shapes, self.finished, strict=True) if done)


class Watched(nn.Module):
    """A nearest-neighbor network that records its calls.

    ``fault`` may raise an error before the computation, and ``spoil`` may change the result.
    """

    def __init__(
        self,
        config: InterpolationConfig,
        fault: Fault = lambda call, low: None,
        spoil: Callable[[Tensor], Tensor] = lambda high: high,
    ) -> None:
        super().__init__()
        self.inner = Interpolation(config)
        self.of_dtype = nn.Parameter(torch.zeros(()))
        self.runs = Runs()
        self.fault = fault
        self.spoil = spoil

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        with self.runs.record(low, self.of_dtype.dtype) as call:
            self.fault(call, low)
            return run.local(self._compute, low, reach_px=0, keep=False)

    def _compute(self, low: Tensor) -> Tensor:
        return self.spoil(self.inner(low.to(self.of_dtype.dtype)))


def as_checkpoint(network: nn.Module) -> Checkpoint:
    config = network.inner.config if isinstance(network, Watched) else network.config
    return Checkpoint(network.eval(), config, config.scale, "test", "test", "made by a test", "digest")


@pytest.fixture(scope="session")
def nearest() -> Callable[..., Checkpoint]:
    """Make checkpoints of watched nearest-neighbor networks: ``nearest(scale, window, fault=, spoil=)``."""

    def make(scale: int = 2, window: int = 1, **hooks: Callable[..., object]) -> Checkpoint:
        return as_checkpoint(Watched(InterpolationConfig(scale, "nearest", window), **hooks))

    return make


@pytest.fixture(scope="session")
def tiny_esc() -> Checkpoint:
    """Return a real ESC network of one block, with random weights everywhere."""
    torch.manual_seed(0)
    config = ESCConfig(
        2, dim=16, heads=1, blocks=1, mixers=2, window_size=8, first_hidden_dim=16, hidden_dim=16
    )
    network = build_network(config)
    for weight in network.parameters():
        if weight.abs().max() == 0:
            nn.init.normal_(weight, std=0.02)
    return as_checkpoint(network)


@pytest.fixture(scope="session")
def random_network() -> Callable[[NetworkConfig], nn.Module]:
    """Make networks with random weights everywhere, because layers of zeros would hide errors."""

    def make(config: NetworkConfig) -> nn.Module:
        torch.manual_seed(0)
        network = build_network(config).eval()
        for weight in network.parameters():
            nn.init.normal_(weight, std=0.1)
        return network

    return make


@pytest.fixture(scope="session")
def streamed() -> Callable[[nn.Module, Tensor, Strips], Tensor]:
    """Run a network in strips and join them to its result."""

    def run(network: nn.Module, low: Tensor, strips: Strips) -> Tensor:
        blocks_of_rows: dict[Span, list[Tensor]] = {}

        def take(rows: Span, columns: Span, block: Tensor) -> None:
            blocks_of_rows.setdefault(rows, []).append(block)

        with torch.inference_mode():
            strips.hand_out(network(low, strips), take)
        return torch.cat([torch.cat(blocks, dim=3) for blocks in blocks_of_rows.values()], dim=2)

    return run


@pytest.fixture(scope="session")
def picture() -> Callable[..., Tensor]:
    """Make a random picture: ``picture(height, width, dtype=, batch=)``."""

    def make(height: int, width: int, dtype: torch.dtype = torch.uint8, batch: int = 1) -> Tensor:
        unit = torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))
        largest = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
        return (unit * largest).to(dtype)

    return make


@pytest.fixture
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make strips one window high and their parts one window wide, so that small pictures have many."""
    monkeypatch.setattr(streaming, "LEAST_ROWS", 1)
    monkeypatch.setattr(streaming, "ROWS_PER_REACH", 1)
    monkeypatch.setattr(streaming, "MOST_COLUMNS", COLUMN_PX)
