from typing import Any

import pytest
import torch

from esc_cli.engine.tiling.samples import TILE_PX, TILES, sampled
from esc_cli.engine.upscaler import Upscaler


def test_samples_are_spread_evenly() -> None:
    rows, columns = torch.arange(1000).view(1, 1, -1, 1), torch.arange(2000).view(1, 1, 1, -1)
    picture = rows * 10_000 + columns
    samples = sampled(picture.expand(1, 3, 1000, 2000))
    assert samples.shape == (1, 3, TILES * TILE_PX, TILES * TILE_PX)
    middles = samples[0, 0, TILE_PX // 2 :: TILE_PX, TILE_PX // 2 :: TILE_PX]
    assert (middles // 10_000).tolist() == [[row] * 4 for row in (125, 375, 625, 875)]
    assert (middles % 10_000).tolist() == [[250, 750, 1250, 1750]] * 4


@pytest.mark.parametrize(
    ("size", "left"), [((256, 256), (256, 256)), ((20, 3000), (20, 256)), ((1, 1), (1, 1))]
)
def test_short_axes_are_kept_whole(size: tuple[int, int], left: tuple[int, int]) -> None:
    for dtype in (torch.uint8, torch.uint16, torch.float32):
        picture = torch.zeros(1, 3, *size).to(dtype)
        assert sampled(picture).shape[-2:] == left
        assert sampled(picture).dtype == dtype


@pytest.mark.parametrize("options", [{"scale": 2}, {"scale": 8}, {"scale": 2, "tta": True}], ids=str)
def test_a_network_pools_over_the_samples(options: dict[str, Any]) -> None:
    """If the samples are the picture itself, the result is its own. Two passes and turns have theirs, too."""
    picture = torch.rand(1, 3, 20, 24)
    upscaler = Upscaler("esc-fp", device="cpu", precision="float32", **options)
    whole = upscaler(picture)
    torch.testing.assert_close(upscaler.run(picture, samples=picture).high, whole, rtol=0, atol=1e-5)
    other = upscaler.run(picture, samples=torch.zeros_like(picture)).high
    assert float((other - whole).abs().max()) > 1e-4


def test_tiles_use_the_samples_too() -> None:
    picture = torch.rand(1, 3, 32, 96)
    whole = Upscaler("esc-fp", scale=2, device="cpu", precision="float32")(picture)
    tiled = Upscaler("esc-fp", scale=2, device="cpu", precision="float32", tile_px=64, overlap_px=32)
    near, far = tiled.run(picture, samples=picture).high, tiled.run(picture, samples=picture / 9).high
    assert float((near - whole).square().mean()) < float((far - whole).square().mean())
