"""Strips give the same result as the whole picture, for every network, picture size and strip height."""

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.engine.executors.torch_executor import TorchExecutor
from esc_cli.engine.tiling.streaming import Strips
from esc_cli.engine.tiling.tiles import Span
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import OutOfMemoryError, WeightsError
from esc_cli.media.read import read_picture
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

Pictures = Callable[..., Tensor]
Networks = Callable[[NetworkConfig], nn.Module]
InStrips = Callable[[nn.Module, Tensor, Strips], Tensor]

WINDOW_PX = 8
NETWORKS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=2, mixers=2, window_size=8, inner_norm=True),
    ESCFPConfig(3, dim=16, partial_dim=8, heads=2, blocks=2, mixers=1, window_size=8),
    ESCRealConfig(4, dim=16, partial_dim=8, heads=2, blocks=1, mixers=2, window_size=8),
    ESCRealConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, head="dysample"),
    ESCRealConfig(8, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, head="neosr"),
    *(
        ESCRealMConfig(
            scale,
            dim=16,
            partial_dim=8,
            heads=2,
            blocks=1,
            mixers=1,
            window_size=8 * unshuffle,
            unshuffle=unshuffle,
            head=head,
            head_dim=12,
        )
        for head, scale, unshuffle in (
            ("conv", 1, 1),
            ("pixelshuffledirect", 3, 1),
            ("pixelshuffle", 8, 1),
            ("pixelshuffle", 2, 2),
            ("nearest+conv", 1, 4),
            ("nearest+conv", 3, 1),
            ("dysample", 2, 2),
            ("transpose+conv", 4, 1),
        )
    ),
    LTEConfig(3, dim=16, partial_dim=8, heads=2, blocks=2, mixers=1, window_size=8, texture_dim=8),
    ESCRIBConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, first_hidden_dim=16),
    ESCFlashBiasConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, bias_rank=4),
    InterpolationConfig(3, "bicubic"),
)
IMAGES = Path(__file__).parents[2].parent / "shared" / "images"


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize(
    "config",
    NETWORKS,
    ids=lambda config: f"{type(config).__name__}-x{config.scale}-{getattr(config, 'head', '')}",
)
def test_strips_equal_the_whole(config: NetworkConfig, random_network: Networks, streamed: InStrips) -> None:
    network = random_network(config).double()
    cell_px = max(WINDOW_PX, config.window_size)  # the height is a multiple of the windows

    @settings(max_examples=15)
    @given(st.integers(1, 8), st.integers(1, 20), st.integers(1, 4), st.integers(1, 2))
    def check(cells: int, width: int, windows: int, batch: int) -> None:
        low = torch.rand(batch, 3, cells * cell_px, width, dtype=torch.float64)
        with torch.inference_mode():
            whole = network(low)
        # A network that unshuffles the picture pads it to whole cells and does not crop results in strips.
        exact = streamed(network, low, Strips(WINDOW_PX, windows * WINDOW_PX))
        exact = exact[..., : whole.shape[-2], : whole.shape[-1]]
        # The means are summed in float32. A wrong reach causes errors of 1e-3 and above.
        torch.testing.assert_close(exact, whole, rtol=1e-5, atol=1e-5)

    check()


@pytest.mark.usefixtures("low_strips")
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 90), st.integers(1, 40), st.integers(1, 2))
def test_any_size_is_that_of_the_whole_picture(
    tiny_esc: Checkpoint, picture: Pictures, height: int, width: int, batch: int
) -> None:
    low = picture(height, width, torch.float32, batch)
    whole, exact = (Upscaler(tiny_esc, device="cpu", tiling=tiling)(low) for tiling in ("none", "exact"))
    assert (whole - exact).abs().max() < 1e-5


@pytest.mark.usefixtures("low_strips")
def test_rows_of_a_picture_that_was_unshuffled_come_to_their_place(
    picture: Pictures, random_network: Networks
) -> None:
    config = next(one for one in NETWORKS if isinstance(one, ESCRealMConfig) and one.unshuffle == 2)
    network = random_network(config)
    checkpoint = Checkpoint(network, config, config.scale, "test", "test", "made by a test", "digest")
    low = picture(70, 21, torch.float32)
    whole, exact = (Upscaler(checkpoint, device="cpu", tiling=tiling)(low) for tiling in ("none", "exact"))
    assert whole.shape == (1, 3, 140, 42)
    assert (whole - exact).abs().max() < 1e-5


@pytest.mark.usefixtures("low_strips")
def test_a_replaced_map_is_read_before_it_is_overwritten() -> None:
    """Each row needs the original values of the rows above, whose results have just been computed."""

    def below_minus_above(rows: Tensor) -> Tensor:
        padded = nn.functional.pad(rows, (0, 0, 3, 3))
        return padded[:, :, 6:] - padded[:, :, :-6]

    features = torch.rand(1, 1, 50, 2)
    expected = below_minus_above(features)
    strips = Strips(4, 4)
    result = strips.local(below_minus_above, features, reach_px=3, replaces=features)
    assert result is features
    assert torch.equal(features, expected)


@pytest.mark.usefixtures("low_strips")
def test_steps_on_a_grid_and_pairs_that_replace_nothing_equal_the_whole() -> None:
    def cells(rows: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(rows, 8).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)

    def smoothed(rows: Tensor, means: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(rows * means, 3, stride=1, padding=1)

    def forward(low: Tensor, run: Runner) -> FeatureMap:
        one, other = run.pair(lambda rows: (rows, rows + 1), low, reach_px=0)
        means = run.local(cells, other, reach_px=0, align_px=8, keep=False)
        return run.local(smoothed, one, means, reach_px=1)

    low = torch.rand(1, 3, 48, 16)
    strips, whole = forward(low, Strips(8, 8)), forward(low, WHOLE)
    assert isinstance(strips, Tensor)
    assert isinstance(whole, Tensor)
    torch.testing.assert_close(strips, whole)


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("failing", [1, 2, 3, 7])
def test_a_strip_that_does_not_fit_is_cut_and_what_is_finished_stays(failing: int) -> None:
    calls: list[int] = []

    def step(rows: Tensor) -> Tensor:
        calls.append(rows.shape[2])
        if len(calls) == failing:
            raise torch.OutOfMemoryError
        return rows + 1

    features = torch.rand(1, 1, 64, 2)
    strips = Strips(4, 8)
    result = strips.local(step, features, reach_px=8)
    assert isinstance(result, Tensor)
    assert torch.equal(result, features + 1)
    assert strips.most_rows == 4
    finished = failing - 1
    assert len(calls) == finished + 1 + (64 - 8 * finished) // 4


@pytest.mark.usefixtures("low_strips")
def test_when_the_lowest_strip_does_not_fit_the_picture_is_done_in_tiles(
    tiny_esc: Checkpoint, picture: Pictures
) -> None:
    class Starved(nn.Module):
        """Runs out of memory if the input is wider than 40 pixels."""

        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner
            self.runs = 0

        def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
            self.runs += 1
            if low.shape[-1] > 40:
                raise torch.OutOfMemoryError
            return self.inner(low, run)  # type: ignore[no-any-return]

    starved = dataclasses.replace(tiny_esc, network=Starved(tiny_esc.network))
    low = picture(64, 64, torch.float32)
    with pytest.raises(OutOfMemoryError, match="64x64"):
        Upscaler(starved, device="cpu", tiling="exact")(low)
    upscaler = Upscaler(starved, device="cpu")
    whole = Upscaler(tiny_esc, device="cpu", tiling="none")(low)
    result = upscaler.run(low)
    assert (result.high - whole).abs().mean() < 0.01
    assert "tiles" in result.ways[0]


def test_values_that_are_not_finite_are_done_again_in_float32_or_refused(
    tiny_esc: Checkpoint, picture: Pictures
) -> None:
    cpu, low = torch.device("cpu"), picture(40, 16, torch.float32)
    large = copy.deepcopy(tiny_esc.network)
    with torch.no_grad():
        large.proj.weight.mul_(1e7)  # infinite in float16, finite in float32
    forward = TorchExecutor(dataclasses.replace(tiny_esc, network=large), cpu, torch.float16)
    are_finite: dict[Span, bool] = {}
    forward.stream(
        low, 32, lambda rows, columns, block: are_finite.update({rows: bool(block.isfinite().all())})
    )
    assert forward.overflow_retries == 1
    assert all(are_finite.values())
    assert len(are_finite) > 1
    with torch.no_grad():
        large.proj.weight.mul_(torch.nan)
    broken = TorchExecutor(dataclasses.replace(tiny_esc, network=large), cpu, torch.float32)
    with pytest.raises(WeightsError, match="not finite"):
        broken.stream(low, 32, lambda rows, columns, block: None)


def test_what_the_caller_raises_is_no_failure_of_the_device(tiny_esc: Checkpoint, picture: Pictures) -> None:
    def emit(rows: Span, columns: Span, block: Tensor) -> None:
        raise RuntimeError("the disk is full")

    forward = TorchExecutor(tiny_esc, torch.device("cpu"), torch.float32)
    with pytest.raises(RuntimeError, match="the disk is full"):
        forward.stream(picture(16, 16), 32, emit)


def test_the_work_begins_again_where_values_overflowed(tiny_esc: Checkpoint, picture: Pictures) -> None:
    large = copy.deepcopy(tiny_esc.network)
    with torch.no_grad():
        large.proj.weight.mul_(1e7)
    upscaler = Upscaler(
        dataclasses.replace(tiny_esc, network=large), device="cpu", precision="float16", tiling="exact"
    )
    seen: list[int] = []
    result = upscaler.run(picture(96, 16), progress=lambda done, total: seen.append(done))
    assert result.overflow_retries == 1
    assert seen == sorted(set(seen))
    assert seen[-1] == 96 * 16


def test_the_shares_of_the_work_add_up_to_one(tiny_esc: Checkpoint, picture: Pictures) -> None:
    shares: list[float] = []
    forward = TorchExecutor(tiny_esc, torch.device("cpu"), torch.float32)
    forward.stream(picture(100, 16), 32, lambda rows, columns, block: None, shares.append)
    assert sum(shares) == pytest.approx(1)
    assert len(shares) > 20


@pytest.mark.skipif(not IMAGES.is_dir(), reason="needs the evaluation pictures")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_exact_is_the_whole_on_a_real_picture(precision: str) -> None:
    checkpoint = load_checkpoint("esc-light", 4)
    low = read_picture(IMAGES / "Set14" / "comic.webp").color
    whole, exact = (
        Upscaler(checkpoint, device="cpu", precision=precision, tiling=tiling)  # type: ignore[arg-type]
        for tiling in ("none", "exact")
    )
    if precision == "float32":
        assert (whole(low, torch.float32) - exact(low, torch.float32)).abs().max() < 1e-4
    assert (whole(low) != exact(low)).float().mean() < (1e-4 if precision == "float32" else 0.05)
