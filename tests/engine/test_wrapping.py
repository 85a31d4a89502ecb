"""Test that pictures whose borders wrap give results whose borders wrap."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.borders import Seamless, Wraps
from esc_cli.engine.tiling.streaming import Strips
from esc_cli.engine.upscaler import Upscaler
from esc_cli.engine.wrapping import Wrapped, pad_wrapped
from esc_cli.errors import UsageError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.lte import LTEConfig

Pictures = Callable[..., Tensor]
Networks = Callable[[NetworkConfig], nn.Module]

WINDOW_PX = 8
TILINGS: tuple[Any, ...] = ("none", "exact")
SMALL: dict[str, Any] = {"dim": 16, "partial_dim": 8, "heads": 2, "blocks": 1, "mixers": 1, "window_size": 8}
NETWORKS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, **(SMALL | {"blocks": 2, "inner_norm": True})),
    ESCConfig(2, **SMALL, mixer="milk"),
    ESCConfig(2, **SMALL, mixer="window"),
    ESCFPConfig(3, **SMALL),
    ESCRealConfig(4, **SMALL),
    ESCRealConfig(2, **SMALL, head="dysample"),
    ESCRealMConfig(1, **(SMALL | {"window_size": 16}), unshuffle=2, head="nearest+conv", head_dim=12),
    ESCRealMConfig(2, **SMALL, head="dysample", head_dim=12),
    ESCRIBConfig(2, **SMALL, first_hidden_dim=16),
    ESCFlashBiasConfig(2, **SMALL, bias_rank=4),
    InterpolationConfig(3, "bicubic"),
)
ERROR = 1e-5
"""Means are summed in float32. A wrong reach or a border that does not wrap causes errors above 1e-3."""

ids: Any = lambda config: f"{type(config).__name__}-{getattr(config, 'head', getattr(config, 'mixer', ''))}"  # noqa: E731
every_network = pytest.mark.parametrize("config", NETWORKS, ids=ids)


def whole(network: nn.Module, low: Tensor, wraps: Wraps) -> Tensor:
    with torch.inference_mode():
        return network(low, Wrapped(wraps))  # type: ignore[no-any-return]


def test_padding_repeats_the_picture() -> None:
    picture = torch.arange(6).view(2, 3)
    assert torch.equal(pad_wrapped(picture, 2, 4), picture.repeat(3, 5)[:, 2:-2])


@every_network
@pytest.mark.parametrize("wraps", [Wraps(True, True), Wraps(True, False), Wraps(False, True)], ids=str)
def test_a_rolled_picture_gives_the_rolled_result(
    config: NetworkConfig, wraps: Wraps, random_network: Networks
) -> None:
    """The picture consists of whole windows and is rolled by whole windows."""
    network, cell_px = random_network(config).double(), max(WINDOW_PX, config.window_size)
    low = torch.rand(1, 3, 2 * cell_px, 3 * cell_px, dtype=torch.float64)
    shift = (cell_px * wraps.rows, 2 * cell_px * wraps.columns)
    rolled = whole(network, low.roll(shift, (2, 3)), wraps)
    high = whole(network, low, wraps)
    scale = high.shape[-1] // low.shape[-1]
    expected = high.roll((scale * shift[0], scale * shift[1]), (2, 3))
    torch.testing.assert_close(rolled, expected, rtol=0, atol=ERROR)
    if config != InterpolationConfig(3, "bicubic"):
        assert (network(low) - high).abs().max() > ERROR


@every_network
def test_it_is_the_middle_of_many_pictures_side_by_side(
    config: NetworkConfig, random_network: Networks
) -> None:
    """Nothing but the plain network is used for the comparison. Means are those of one picture."""
    network, cell_px = random_network(config).double(), max(WINDOW_PX, config.window_size)
    low = torch.rand(1, 3, 2 * cell_px, 3 * cell_px, dtype=torch.float64)
    with torch.inference_mode():
        many = network(low.repeat(1, 1, 7, 5))
    high = whole(network, low, Wraps(True, True))
    height, width = high.shape[-2:]
    middle = many[..., 3 * height : 4 * height, 2 * width : 3 * width]
    torch.testing.assert_close(high, middle, rtol=0, atol=ERROR)


@pytest.mark.usefixtures("low_strips")
@every_network
@pytest.mark.parametrize("wraps", [Wraps(True, True), Wraps(True, False), Wraps(False, True)], ids=str)
def test_strips_give_the_same(
    config: NetworkConfig, wraps: Wraps, random_network: Networks, streamed: Callable[..., Tensor]
) -> None:
    """Sides that wrap may have any length."""
    network, cell_px = random_network(config).double(), max(WINDOW_PX, config.window_size)

    @settings(max_examples=8)
    @given(st.integers(1, 40), st.integers(1, 30), st.integers(1, 3))
    def check(height: int, width: int, windows: int) -> None:
        if not wraps.rows:
            height = cell_px * (height // cell_px + 1)
        cell = config.window_size // config.body().window_size  # an unshuffled picture has whole cells
        low = torch.rand(1, 3, height * cell, width * cell, dtype=torch.float64)
        exact = streamed(network, low, Strips(WINDOW_PX, windows * WINDOW_PX, wraps=wraps))
        torch.testing.assert_close(exact, whole(network, low, wraps), rtol=1e-5, atol=ERROR)

    check()


@pytest.mark.usefixtures("low_strips")
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["x", "y", "xy"]))
def test_whole_pictures_and_strips_of_any_size(
    tiny_esc: Checkpoint, picture: Pictures, height: int, width: int, seamless: Seamless
) -> None:
    low = picture(height, width, torch.float32)
    high, exact = (
        Upscaler(tiny_esc, device="cpu", tiling=tiling, seamless=seamless)(low) for tiling in TILINGS
    )
    assert high.shape[-2:] == (tiny_esc.scale * height, tiny_esc.scale * width)
    assert (high - exact).abs().max() < ERROR


@pytest.mark.parametrize("scale", [2, 4])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32])
@pytest.mark.parametrize("tta", [False, True])
def test_every_kind_of_picture_is_rolled(
    tiny_esc: Checkpoint, picture: Pictures, scale: int, dtype: torch.dtype, tta: bool
) -> None:
    low, window_px = picture(16, 32, dtype), tiny_esc.config.window_size
    upscaler = Upscaler(tiny_esc, device="cpu", precision="float32", scale=scale, seamless="x", tta=tta)
    assert low.shape[-1] % window_px == 0
    rolled = upscaler(rolled_by(low, window_px))
    expected = rolled_by(upscaler(low), scale * window_px)
    difference = (rolled.double() - expected.double()).abs().max()
    assert difference <= (ERROR if dtype == torch.float32 else 1)


def rolled_by(picture: Tensor, columns: int) -> Tensor:
    movable = picture.view(torch.int16) if picture.dtype == torch.uint16 else picture
    return movable.roll(columns, -1).view(picture.dtype)


def test_a_picture_that_is_unshuffled_has_any_size(picture: Pictures, random_network: Networks) -> None:
    """A picture of 15 pixels is upscaled as two copies, because 15 pixels cannot be unshuffled by 2."""
    config = ESCRealMConfig(1, **(SMALL | {"window_size": 16}), unshuffle=2, head="nearest+conv", head_dim=12)
    network = random_network(config)
    checkpoint = Checkpoint(network, config, 1, "test", "test", "made by a test", "digest")
    low, reported = picture(16, 15, torch.float32), list[int]()
    high = Upscaler(checkpoint, device="cpu", seamless="x")(
        low, progress=lambda done, _: reported.append(done)
    )
    twice = Upscaler(checkpoint, device="cpu", seamless="x")(low.repeat(1, 1, 1, 2))
    assert high.shape == low.shape
    assert (high - twice[..., :15]).abs().max() < ERROR
    assert reported[-1] == 16 * 15


def test_a_shipped_model_is_rolled_in_8_bits(picture: Pictures) -> None:
    low = picture(64, 96, torch.uint8)
    upscaler = Upscaler("esc-light", device="cpu", precision="float32", scale=2, seamless="xy")
    rolled = upscaler(low.roll((32, 64), (2, 3)))
    expected = upscaler(low).roll((64, 128), (2, 3))
    assert (rolled.int() - expected.int()).abs().max() <= 1
    plain = Upscaler("esc-light", device="cpu", precision="float32", scale=2)(low).roll((64, 128), (2, 3))
    assert (rolled.int() - plain.int()).abs().max() > 8


def test_what_cannot_wrap_is_refused(tiny_esc: Checkpoint, random_network: Networks) -> None:
    with pytest.raises(UsageError, match="whose borders wrap cannot run in tiles"):
        Upscaler(tiny_esc, device="cpu", tiling="overlap", seamless="x")
    with pytest.raises(UsageError, match="'z' is not a choice of borders"):
        Upscaler(tiny_esc, device="cpu", seamless="z")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="OpenVINO cannot let borders wrap"):
        Upscaler(tiny_esc, device="cpu", runtime="openvino", seamless="x")
    config = LTEConfig(3, **SMALL, texture_dim=8)
    network = random_network(config)
    any_scale = Checkpoint(network, config, None, "test", "test", "made by a test", "digest")
    with pytest.raises(UsageError, match="arbitrary-scale model cannot let borders wrap"):
        Upscaler(any_scale, device="cpu", seamless="x")
