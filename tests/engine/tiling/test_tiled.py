"""Tiles shrink when memory runs out. The error is simulated at the boundary to torch, in ``forward``."""

import itertools
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.executors.torch_executor import TorchExecutor
from esc_cli.engine.tiling.tiled import TiledRun, TileSizes
from esc_cli.engine.tiling.tiles import Span
from esc_cli.errors import DeviceError, OutOfMemoryError

Make = Callable[..., Checkpoint]
Pictures = Callable[..., Tensor]
SCALE, WINDOW_PX, OVERLAP_PX = 2, 8, 8


def fails_at(*calls: int) -> Callable[[int, Tensor], None]:
    def fault(call: int, low: Tensor) -> None:
        if call in calls:
            raise torch.OutOfMemoryError

    return fault


def fails_above(area_px: int) -> Callable[[int, Tensor], None]:
    def fault(call: int, low: Tensor) -> None:
        if low.shape[-2] * low.shape[-1] > area_px:
            raise torch.OutOfMemoryError

    return fault


def run(checkpoint: Checkpoint, low: Tensor, largest_px: int) -> tuple[Tensor, TiledRun]:
    forward = TorchExecutor(checkpoint, torch.device("cpu"), torch.float32)
    tiled = TiledRun(forward, TileSizes(largest_px, WINDOW_PX + OVERLAP_PX, OVERLAP_PX))
    high = torch.full((*low.shape[:2], SCALE * low.shape[-2], SCALE * low.shape[-1]), torch.nan)

    def write(rows: Span, columns: Span, block: Tensor) -> None:
        place = high[..., rows.enlarged(SCALE), columns.enlarged(SCALE)]
        assert place.isnan().all(), "a block was emitted twice"
        place.copy_(block)

    tiled.run(low, write)
    return high, tiled


def enlarged(low: Tensor) -> Tensor:
    return low.repeat_interleave(SCALE, -2).repeat_interleave(SCALE, -1)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(2, 8))
def test_tiles_make_the_same_picture(
    nearest: Make, picture: Pictures, rows: int, columns: int, tile: int
) -> None:
    low = picture(rows * WINDOW_PX, columns * WINDOW_PX, torch.float32)
    checkpoint = nearest(SCALE, WINDOW_PX)
    high, _ = run(checkpoint, low, tile * WINDOW_PX)
    assert torch.equal(high, enlarged(low))
    assert max(map(max, checkpoint.network.runs.shapes)) <= tile * WINDOW_PX
    assert len(set(checkpoint.network.runs.shapes)) == 1


@pytest.mark.parametrize("failing", range(1, 17))
def test_when_memory_runs_out_at_any_call_only_that_tile_is_done_again(
    nearest: Make, picture: Pictures, failing: int
) -> None:
    low = picture(104, 104, torch.float32)
    undisturbed, disturbed = nearest(SCALE, WINDOW_PX), nearest(SCALE, WINDOW_PX, fault=fails_at(failing))
    run(undisturbed, low, 32)
    high, tiled = run(disturbed, low, 32)
    before, after = undisturbed.network.runs, disturbed.network.runs
    assert torch.equal(high, enlarged(low))
    assert len(before.shapes) == 16
    assert after.finished.count(False) == 1
    # Each of the 16 tiles is finished once: those before the failure whole, the others in 9 parts.
    assert after.shapes[:failing] == [(32, 32)] * failing
    assert set(after.shapes[failing:]) == {(16, 16)} or tiled.tile_px == 16
    assert after.finished_px() == (failing - 1) * 32**2 + (16 - failing + 1) * 9 * 16**2


def test_each_retry_has_at_most_half_the_area(nearest: Make, picture: Pictures) -> None:
    low = picture(128, 64, torch.float32)
    checkpoint = nearest(SCALE, WINDOW_PX, fault=fails_above(20 * 20))
    high, tiled = run(checkpoint, low, 128)
    runs = checkpoint.network.runs
    areas = [h * w for (h, w), done in zip(runs.shapes, runs.finished, strict=True) if not done]
    assert areas[0] == 128 * 64
    assert all(after <= before / 2 for before, after in itertools.pairwise(areas))
    assert tiled.tile_px == 16
    assert torch.equal(high, enlarged(low))


def test_a_whole_picture_that_does_not_fit_is_tiled_without_a_float_copy(
    nearest: Make, picture: Pictures
) -> None:
    """Nothing was finished before the failure, so the tiles can be emitted one by one."""
    low, blocks = picture(64, 64, torch.float32), []
    forward = TorchExecutor(nearest(SCALE, WINDOW_PX, fault=fails_at(1)), torch.device("cpu"), torch.float32)
    TiledRun(forward, TileSizes(64, 16, 8)).run(low, lambda rows, columns, block: blocks.append(block.shape))
    assert len(blocks) == 4


def test_the_smallest_tile_is_a_window_and_the_overlap(nearest: Make, picture: Pictures) -> None:
    checkpoint = nearest(SCALE, WINDOW_PX, fault=fails_above(0))
    with pytest.raises(OutOfMemoryError, match="16x16") as caught:
        run(checkpoint, picture(64, 64, torch.float32), 64)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert checkpoint.network.runs.shapes[-1] == (16, 16)


def test_other_errors_are_not_taken_for_a_lack_of_memory(nearest: Make, picture: Pictures) -> None:
    def fault(call: int, low: Tensor) -> None:
        raise RuntimeError("CUDA error: out of memory, says only the text")

    with pytest.raises(DeviceError, match="only the text"):
        run(nearest(SCALE, WINDOW_PX, fault=fault), picture(64, 64, torch.float32), 64)
