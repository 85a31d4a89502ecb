"""The engine runs networks of other families whole or in tiles, as memory allows."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.executors.openvino_graph import obstacle
from esc_cli.engine.executors.registry import runtime_named
from esc_cli.engine.memory.footprint import Work
from esc_cli.engine.tiling.choice import choose_ways, tiling_request
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import UsageError
from esc_cli.networks.architectures.foreign import ForeignConfig, ForeignNetwork

Pictures = Callable[..., Tensor]

CONFIG = ForeignConfig(2, "Mixing", half=("bfloat16",), values_per_pixel=100)


class Mixing(nn.Module):
    """Two convolutions, which read one pixel each, so that tiles join exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 1)
        self.last = nn.Conv2d(8, 12, 1)

    def forward(self, low: Tensor) -> Tensor:
        return F.pixel_shuffle(self.last(self.first(low)), 2)


def foreign(**changes: Any) -> Checkpoint:
    torch.manual_seed(0)
    config = replace(CONFIG, **changes)
    network = ForeignNetwork(Mixing().eval(), lambda model, low: model(low), config)
    return Checkpoint(network, config, config.scale, "test", config.architecture, "made by a test", "digest")


def test_tiles_join_to_the_whole_picture(picture: Pictures) -> None:
    low = picture(70, 90, torch.float32)
    whole = Upscaler(foreign(), device="cpu", tiling="none")(low)
    tiled = Upscaler(foreign(), device="cpu", tile_px=40, overlap_px=8).run(low)
    torch.testing.assert_close(tiled.high, whole, atol=2e-6, rtol=0)
    assert "tiles of 40 pixels" in tiled.ways[0]


@pytest.mark.parametrize(
    ("free_mb", "mode"), [(20_000, "none"), (700, "overlap")], ids=["enough", "too little"]
)
def test_a_picture_that_does_not_fit_is_cut(free_mb: int, mode: str) -> None:
    work = Work(CONFIG, torch.float32, "sdpa", 1, 2000, 2000, runtime_named("torch"))
    assert work.bytes_whole() > 1.6e9
    way = choose_ways(tiling_request("auto", None, None, 1), work, free_mb * 2**20, on_cpu=True)[0]
    assert way.mode == mode
    assert way.needed_bytes < free_mb * 2**20


def test_memory_that_grows_with_the_square_gets_small_tiles() -> None:
    config = replace(CONFIG, values_per_square=1.0)
    work = Work(config, torch.float32, "sdpa", 1, 2000, 2000, runtime_named("torch"))
    way = choose_ways(tiling_request("auto", None, None, 1), work, 2**30, on_cpu=True)[0]
    assert way.sizes is not None
    assert way.sizes.largest_px < 120


def test_a_network_that_tiles_by_itself_runs_whole() -> None:
    work = Work(replace(CONFIG, tiling="internal"), torch.float32, "", 1, 2000, 2000, runtime_named("torch"))
    ways = choose_ways(tiling_request("auto", None, None, 1), work, 2**29, on_cpu=True)
    assert [way.mode for way in ways] == ["none"]


def test_advice_against_tiles_is_passed_on(picture: Pictures) -> None:
    upscaler = Upscaler(foreign(tiling="discouraged"), device="cpu", tile_px=40, overlap_px=8)
    assert "authors advise against tiles" in upscaler.run(picture(50, 50)).ways[0]


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ({"tiling": "exact"}, "Mixing cannot run in exact strips"),
        ({"seamless": "x"}, "cannot wrap if its steps are not known"),
        ({"attention": "sdpa"}, "Mixing has no attention to choose"),
        ({"precision": "float16"}, "Mixing does not support float16"),
    ],
)
def test_what_a_foreign_network_cannot_do(option: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Upscaler(foreign(), device="cpu", **option)


def test_precision_is_full_unless_asked_for(picture: Pictures) -> None:
    upscaler = Upscaler(foreign(), device="cpu")
    assert (upscaler.precision, upscaler.precision_reason) == (
        torch.float32,
        "the error of half precision is not known here",
    )
    assert upscaler.attention_reason == "the network is run as it is written"
    half = Upscaler(foreign(), device="cpu", precision="bfloat16")
    low = picture(20, 20, torch.float32)
    torch.testing.assert_close(half(low), upscaler(low), atol=0.02, rtol=0)


def test_overflow_in_half_precision_is_noticed(picture: Pictures) -> None:
    checkpoint = foreign(half=("float16",))
    with torch.no_grad():
        for one in (checkpoint.network.model.first, checkpoint.network.model.last):
            one.weight.mul_(1e4)
    low = picture(20, 20, torch.float32)
    result = Upscaler(checkpoint, device="cpu", precision="float16").run(low)
    assert result.overflow_retries == 1
    assert torch.equal(result.high, Upscaler(checkpoint, device="cpu", precision="float32")(low))


def test_openvino_is_not_tried() -> None:
    assert obstacle(foreign().network) == "it runs ESC's networks only"
