"""An arbitrary-scale network makes any size, whole or in strips, and refuses unsupported requests."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.tiling import streaming
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import OutOfMemoryError, UsageError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.lte import LTEConfig

Pictures = Callable[..., Tensor]


@pytest.fixture(scope="module")
def checkpoint(random_network: Callable[[NetworkConfig], nn.Module]) -> Checkpoint:
    config = LTEConfig(
        dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, texture_dim=8, decoder_dims=(8, 8)
    )
    return Checkpoint(random_network(config), config, None, "test", "test", "made by a test", "digest")


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 50), st.integers(1, 30), st.integers(1, 90), st.integers(1, 90), st.integers(1, 2))
def test_strips_equal_the_whole_at_any_size(
    checkpoint: Checkpoint,
    picture: Pictures,
    height: int,
    width: int,
    more_rows: int,
    more_columns: int,
    batch: int,
) -> None:
    low, size = picture(height, width, torch.float32, batch), (height + more_rows, width + more_columns)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "LEAST_ROWS", 1)
        whole, exact = (Upscaler(checkpoint, device="cpu", tiling=tiling) for tiling in ("none", "exact"))  # type: ignore[arg-type]
        expected, result = whole(low, size=size), exact.run(low, size=size)
    made = result.high
    assert made.shape == (batch, 3, *size)
    assert (made - expected).abs().max() < 1e-5
    assert "in strips" in result.ways[0]


@pytest.mark.parametrize("size", [(10, 10), (1, 1), (1, 90), (300, 2)])
def test_a_result_may_have_fewer_rows_than_the_picture(
    checkpoint: Checkpoint, picture: Pictures, size: tuple[int, int]
) -> None:
    """Some strips of the picture then have no rows of the result."""
    low = picture(100, 40, torch.float32)
    whole, exact = (
        Upscaler(checkpoint, device="cpu", tiling=tiling)(low, size=size)  # type: ignore[arg-type]
        for tiling in ("none", "exact")
    )
    assert exact.shape == (1, 3, *size)
    assert (whole - exact).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(0, 0), (-3, 5), (5, 0)])
def test_a_result_without_pixels_is_refused(
    checkpoint: Checkpoint, picture: Pictures, size: tuple[int, int]
) -> None:
    with pytest.raises(UsageError, match=f"at least 1x1 pixels, not {size[0]}x{size[1]}"):
        Upscaler(checkpoint, device="cpu")(picture(9, 7), size=size)


def test_a_part_pools_over_samples(checkpoint: Checkpoint, picture: Pictures) -> None:
    low, upscaler = picture(16, 24, torch.float32), Upscaler(checkpoint, device="cpu")
    whole = upscaler(low, size=(37, 53))
    same, other = (upscaler.run(low, size=(37, 53), samples=one).high for one in (low, low / 9))
    assert (same - whole).abs().max() < 1e-5
    assert (other - whole).abs().max() > (same - whole).abs().max()  # what is pooled changes little here


@pytest.mark.parametrize(("scale", "size"), [(None, (44, 36)), (2.5, (28, 22)), (1, (11, 9)), (7, (77, 63))])
def test_the_scale_is_that_of_both_sides(
    checkpoint: Checkpoint, picture: Pictures, scale: float | None, size: tuple[int, int]
) -> None:
    upscaler = Upscaler(checkpoint, scale=scale, device="cpu")
    assert upscaler(picture(11, 9)).shape == (1, 3, *size)
    assert upscaler.passes == (scale or 4,)
    assert upscaler.does_any_scale


def test_the_self_ensemble_turns_the_size_too(checkpoint: Checkpoint, picture: Pictures) -> None:
    upscaler, low = Upscaler(checkpoint, device="cpu", tta=True), picture(9, 14, torch.float32)
    upright, turned = upscaler(low, size=(20, 50)), upscaler(low.mT, size=(50, 20))
    assert (upright - turned.mT).abs().max() < 1e-5


def test_where_a_pixel_stays_its_color_stays(checkpoint: Checkpoint) -> None:
    """The result for a flat picture has no steps: nothing is shifted at the borders of blocks."""
    high = Upscaler(checkpoint, scale=1, device="cpu")(torch.full((1, 3, 150, 20), 0.5))
    assert (high.diff(dim=2)[:, :, 20:-20].abs().max()) < 1e-5


@pytest.mark.parametrize("scale", [0.9, 0, -1, float("inf"), float("nan")])
def test_scales_below_one_are_refused(checkpoint: Checkpoint, scale: float) -> None:
    with pytest.raises(UsageError, match="this model cannot do"):
        Upscaler(checkpoint, scale=scale)


@pytest.mark.parametrize("options", [{"tiling": "overlap"}, {"tile_px": 64}, {"runtime": "openvino"}])
def test_tiles_and_whole_graphs_are_refused(checkpoint: Checkpoint, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"arbitrary-scale|one scale"):
        Upscaler(checkpoint, device="cpu", **options)  # type: ignore[arg-type]


def test_there_are_no_tiles_to_fall_back_on(
    checkpoint: Checkpoint, picture: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esc_cli.engine.passes.free_bytes", lambda device: 10_000)
    with pytest.raises(OutOfMemoryError):
        Upscaler(checkpoint, device="cpu")(picture(32, 32))
