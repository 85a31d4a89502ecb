"""All tiles of a picture use the statistics that were pooled from the middle tile."""

import copy
import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.executors.torch_executor import TorchExecutor
from esc_cli.engine.tiling.tiled import TiledRun, TileSizes
from esc_cli.engine.tiling.tiles import Span

Make = Callable[..., Checkpoint]
Pictures = Callable[..., Tensor]
CPU = torch.device("cpu")


@pytest.fixture
def pooling_esc(tiny_esc: Checkpoint) -> Checkpoint:
    """Return a network whose dynamic kernels differ from tile to tile. In a new network they are zero."""
    torch.manual_seed(0)
    network = copy.deepcopy(tiny_esc.network)
    for name, weights in network.named_parameters():
        if "dwc_proj" in name:
            nn.init.normal_(weights, std=0.5)
    return dataclasses.replace(tiny_esc, network=network)


def test_a_network_given_its_own_statistics_is_itself(pooling_esc: Checkpoint, picture: Pictures) -> None:
    forward = TorchExecutor(pooling_esc, CPU, torch.float32)
    low = picture(24, 16, torch.float32)
    with torch.inference_mode():
        statistics = forward.gather(low)
        config = pooling_esc.config
        assert len(statistics) == config.blocks * config.mixers  # type: ignore[union-attr]
        torch.testing.assert_close(forward(low, statistics=statistics), forward(low), rtol=0, atol=0)
        other = forward.gather(low / 2)
        assert not torch.allclose(forward(low, statistics=other), forward(low), rtol=0, atol=1e-4)


def test_all_tiles_have_those_of_the_middle_one(pooling_esc: Checkpoint, picture: Pictures) -> None:
    """Without overlap, each tile is the network's result for it with the statistics of the middle tile."""
    forward = TorchExecutor(pooling_esc, CPU, torch.float32)
    low = picture(24, 24, torch.float32)
    blocks: dict[tuple[int, int], Tensor] = {}

    def keep(rows: Span, columns: Span, block: Tensor) -> None:
        blocks[rows.start, columns.start] = block.clone()

    with torch.inference_mode():
        TiledRun(forward, TileSizes(8, 8, 0)).run(low, keep)
        given = forward.gather(low[..., 8:16, 8:16])
        assert len(blocks) == 9
        for (top, left), block in blocks.items():
            alone = forward(low[..., top : top + 8, left : left + 8], statistics=given)
            torch.testing.assert_close(block, alone, rtol=0, atol=1e-6)


def test_when_memory_runs_out_for_the_middle_tile_tiles_are_smaller(
    pooling_esc: Checkpoint, picture: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = TorchExecutor(pooling_esc, CPU, torch.float32)
    inner, areas = forward._network.forward, []

    def starved(low: Tensor, *run: object) -> object:
        areas.append(low.shape[-1] * low.shape[-2])
        if areas[-1] > 16 * 16:
            raise torch.OutOfMemoryError
        return inner(low, *run)

    monkeypatch.setattr(forward._network, "forward", starved)
    tiled = TiledRun(forward, TileSizes(24, 8, 0))
    with torch.inference_mode():
        tiled.run(picture(48, 48, torch.float32), lambda rows, columns, block: None)
    assert tiled.tile_px == 16
    assert max(areas) == 24 * 24
    assert areas.count(24 * 24) == 1


def test_a_network_that_pools_nothing_is_run_once_for_each_tile(nearest: Make, picture: Pictures) -> None:
    checkpoint = nearest(2, 8)
    tiled = TiledRun(TorchExecutor(checkpoint, CPU, torch.float32), TileSizes(8, 8, 0))
    tiled.run(picture(16, 16), lambda rows, columns, block: None)
    assert len(checkpoint.network.runs.shapes) == 4
