import dataclasses
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.upscaler import Upscaler
from esc_cli.enhancement.enlarge import GRAY_STRIP_ROWS, Enlarger, enlarge, make_gray
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.size import Geometry
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture, PictureFile
from esc_cli.media.read import read_picture
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network

Save = Callable[..., Path]


def picture(color: Tensor, alpha: Tensor | None = None, gray: bool = False) -> Picture:
    return Picture(color, alpha, gray, Metadata(icc_profile=b"profile"), "PNG")


def noise(height: int, width: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, channels, height, width), generator=generator, dtype=torch.uint8)


@pytest.mark.parametrize(("scale", "size"), [(2, (10, 14)), (1.5, (8, 10)), (0.5, (2, 4)), (8, (40, 56))])
def test_the_size_is_exact_for_any_factor(scale: float, size: tuple[int, int]) -> None:
    upscaler = Upscaler("bicubic", scale=8 if scale > 4 else 2)
    high = enlarge(picture(noise(5, 7), noise(5, 7, 1)), upscaler, size).picture
    assert high.color.shape == (1, 3, *size)
    assert high.alpha is not None
    assert high.alpha.shape == (1, 1, *size)
    assert high.color.dtype == high.alpha.dtype == torch.uint8
    assert high.metadata.icc_profile == b"profile"


def test_the_scale_above_four_repeats_the_network() -> None:
    low = noise(3, 3)
    high = enlarge(picture(low), Upscaler("nearest", scale=8), (24, 24)).picture
    assert torch.equal(high.color, low.repeat_interleave(8, 2).repeat_interleave(8, 3))


@pytest.fixture
def tinting() -> Upscaler:
    """Return an upscaler with random weights, whose result for a gray picture is not gray."""
    torch.manual_seed(0)
    config = ESCConfig(
        2,
        dim=16,
        partial_dim=8,
        heads=1,
        blocks=1,
        mixers=1,
        window_size=8,
        first_hidden_dim=16,
        hidden_dim=16,
    )
    network = build_network(config).eval()
    return Upscaler(Checkpoint(network, config, 2, "test", "test", "made by a test", "digest"))


def test_gray_gets_no_tint(tinting: Upscaler) -> None:
    gray = noise(6, 6, 1).expand(-1, 3, -1, -1).contiguous()
    tinted = tinting(gray)
    assert not torch.equal(tinted[:, 0], tinted[:, 1])
    high = enlarge(picture(gray, gray=True), tinting, (10, 10)).picture
    assert torch.equal(high.color[:, 0], high.color[:, 1])
    assert torch.equal(high.color[:, 0], high.color[:, 2])


def test_gray_is_pillows_luma_in_every_strip() -> None:
    color = noise(2 * GRAY_STRIP_ROWS + 3, 5)
    image = Image.fromarray(color[0].permute(1, 2, 0).numpy())
    expected = torch.tensor(list(image.convert("L").tobytes())).view(color.shape[-2:])
    gray = make_gray(color.clone())
    assert (gray[0, 0].int() - expected.int()).abs().max() <= 1  # Pillow rounds a 16-bit sum
    assert torch.equal(gray[:, 0], gray[:, 2])


def test_what_is_opaque_stays_opaque_without_a_second_run() -> None:
    reports: list[tuple[int, int]] = []
    opaque = torch.full((1, 1, 4, 4), 255, dtype=torch.uint8)
    high = enlarge(
        picture(noise(4, 4), opaque),
        Upscaler("bicubic", scale=2),
        (8, 8),
        progress=lambda *report: reports.append(report),
    ).picture
    assert high.alpha is not None
    assert high.alpha.min() == 255
    assert reports == [(16, 16)]


def test_alpha_is_upscaled_as_the_colours_are() -> None:
    alpha = noise(5, 5, 1)
    upscaler = Upscaler("bicubic", scale=3)
    high = enlarge(picture(noise(5, 5), alpha), upscaler, (15, 15)).picture
    assert high.alpha is not None
    assert torch.equal(high.alpha, upscaler(alpha.expand(-1, 3, -1, -1))[:, :1])


def test_no_dark_rim_where_black_hides_under_transparency() -> None:
    color = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    alpha = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    color[..., 2:6, 2:6], alpha[..., 2:6, 2:6] = 200, 255
    high = enlarge(picture(color, alpha), Upscaler("bicubic", scale=4), (32, 32)).picture
    assert high.alpha is not None
    seen = high.color[(high.alpha > 0).expand(-1, 3, -1, -1)]
    assert (seen.int() - 200).abs().max() <= 1


def test_progress_rises_once_over_colour_and_alpha() -> None:
    reports: list[tuple[int, int]] = []
    upscaler = Upscaler("nearest", scale=2, tiling="overlap", tile_px=8, overlap_px=0)
    enlarge(
        picture(noise(16, 16), noise(16, 16, 1)),
        upscaler,
        (32, 32),
        progress=lambda *report: reports.append(report),
    )
    done = [report[0] for report in reports]
    assert len(done) == 8
    assert done == sorted(done)
    assert {report[1] for report in reports} == {done[-1]}


def test_pages_that_share_their_pixels_are_enlarged_once_and_keep_their_own_metadata() -> None:
    first = picture(noise(4, 4))
    same = replace(first, metadata=Metadata(icc_profile=b"profile", xmp=b"of the second"))
    other = picture(noise(2, 2))
    steps: list[int] = []
    enlarger = Enlarger(Models(EnhancementOptions(model="nearest")), Geometry.of_scale(2))
    result = enlarger(PictureFile((first, same, other, first)), lambda done, total: steps.append(done))
    high = result.file
    assert [one.height for one in high.pictures] == [8, 8, 4, 8]
    assert [one.metadata.xmp for one in high.pictures] == [None, b"of the second", None, None]
    assert high.pictures[0] is high.pictures[3]
    assert high.pictures[0].color is high.pictures[1].color
    assert len(steps) == result.repeated == 2


def test_the_callers_picture_is_not_changed(save: Save) -> None:
    low = read_picture(save("a.png", mode="LA"))
    before = low.color.clone()
    enlarge(low, Upscaler("nearest", scale=2), (12, 16))
    assert torch.equal(low.color, before)


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [(3, 4), (6, 8)])
def test_what_does_not_grow_needs_no_network(size: tuple[int, int], gray: bool) -> None:
    color = noise(6, 8, 1).expand(-1, 3, -1, -1).contiguous() if gray else noise(6, 8)
    low = picture(color, noise(6, 8, 1), gray)
    before = low.color.clone(), low.alpha.clone() if low.alpha is not None else None
    high = enlarge(low, None, size).picture
    assert high.alpha is not None
    assert (high.color.shape, high.alpha.shape) == ((1, 3, *size), (1, 1, *size))
    assert torch.equal(low.color, before[0])
    assert low.alpha is not None
    assert before[1] is not None
    assert torch.equal(low.alpha, before[1])


def test_nearest_leaves_colors_that_are_hardly_visible() -> None:
    low = picture(noise(4, 4), torch.ones((1, 1, 4, 4), dtype=torch.uint8))
    upscaler = Upscaler("nearest", scale=2)
    assert upscaler.keeps_pixels
    assert not Upscaler("bicubic", scale=2).keeps_pixels
    high = enlarge(low, upscaler, (8, 8)).picture
    assert torch.equal(high.color, low.color.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_alpha_that_is_data_leaves_colors_as_they_are(tinting: Upscaler) -> None:
    color, alpha = noise(8, 8), noise(8, 8, 1).clone()
    alpha[..., :4] = 0
    opaque = enlarge(picture(color), tinting, (16, 16)).picture
    data = dataclasses.replace(picture(color, alpha), alpha_is_data=True)
    high = enlarge(data, tinting, (16, 16)).picture
    assert torch.equal(high.color, opaque.color)
    assert not torch.equal(enlarge(picture(color, alpha), tinting, (16, 16)).picture.color, opaque.color)
    assert high.alpha is not None


@pytest.mark.parametrize("size", [(12, 12), (6, 6), (8, 8)])
def test_alpha_that_is_data_does_not_weigh_colors(tinting: Upscaler, size: tuple[int, int]) -> None:
    color, alpha = noise(8, 8), noise(8, 8, 1).clone()
    alpha[..., :4] = 0
    upscaler = tinting if size[0] > 8 else None
    data = dataclasses.replace(picture(color, alpha), alpha_is_data=True)
    high = enlarge(data, upscaler, size).picture
    assert torch.equal(high.color, enlarge(picture(color), upscaler, size).picture.color)
    assert high.alpha is not None
    assert high.alpha.shape[-2:] == size
