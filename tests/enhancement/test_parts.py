from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.engine.borders import Seamless
from esc_cli.engine.tiling.tiles import Span
from esc_cli.enhancement.enlarge import Enlarger, enlarge
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.parts import MARGIN_PX, Area, cut_out, enlarge_part, work_px
from esc_cli.enhancement.size import Geometry
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture


def enlarger(model: str, scale: float, **options: object) -> Enlarger:
    chosen = EnhancementOptions(model=model, device="cpu", precision="float32").but(**options)
    return Enlarger(Models(chosen), Geometry.of_scale(scale))


def noise(height: int, width: int, dtype: torch.dtype = torch.uint8, *, alpha: bool = False) -> Picture:
    largest = torch.iinfo(dtype).max
    planes = torch.randint(0, largest + 1, (1, 4, height, width), generator=torch.Generator().manual_seed(0))
    depth_bits = 8 * dtype.itemsize
    color, transparency = planes.to(dtype).split((3, 1), dim=1)
    return Picture(color, transparency if alpha else None, False, Metadata(), "PNG", depth_bits=depth_bits)


def difference(one: torch.Tensor, other: torch.Tensor) -> int:
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    return int((one.long() - other.long()).abs().max())


AREAS = st.tuples(st.integers(0, 90), st.integers(1, 30), st.integers(0, 170), st.integers(1, 30))


@settings(max_examples=20)
@given(AREAS, st.sampled_from([(torch.uint8, False), (torch.uint8, True), (torch.uint16, False)]))
def test_networks_that_do_not_pool_need_only_the_margin(
    place: tuple[int, int, int, int], kind: tuple[torch.dtype, bool]
) -> None:
    top, height, left, width = place
    area = Area(Span(top, top + height), Span(left, left + width))
    picture = noise(120, 200, kind[0], alpha=kind[1])
    for model, tolerance in (("nearest", 0), ("bicubic", 1)):  # sums in another order may round otherwise
        made = enlarge_part(enlarger(model, 2), picture, area)
        whole = enlarge_part(enlarger(model, 2), picture, area, exact=True)
        assert difference(made.color, whole.color) <= tolerance
        if made.alpha is not None and whole.alpha is not None:
            assert difference(made.alpha, whole.alpha) <= tolerance


@pytest.mark.parametrize("scale", [1.5, 2.5, 0.5])
def test_factors_between_the_scales_of_a_model(scale: float) -> None:
    picture, area = noise(160, 320), Area(Span(62, 94), Span(200, 264))
    made = enlarge_part(enlarger("bicubic", scale), picture, area)
    assert (
        difference(made.color, enlarge_part(enlarger("bicubic", scale), picture, area, exact=True).color) <= 1
    )


@pytest.mark.parametrize("seamless", ["x", "y", "xy"])
def test_at_borders_that_wrap_the_margin_comes_from_the_other_side(seamless: Seamless) -> None:
    picture, area = noise(200, 200), Area(Span(0, 8), Span(192, 200))
    wrapped = enlarger("bicubic", 2, seamless=seamless)
    whole = enlarge_part(wrapped, picture, area, exact=True).color
    assert difference(enlarge_part(wrapped, picture, area).color, whole) <= 1
    assert difference(enlarge_part(enlarger("bicubic", 2), picture, area).color, whole) > 1


def photo(scene: Image.Image, side_px: int) -> Picture:
    pixels = np.array(scene.resize((side_px, side_px), Image.Resampling.BICUBIC))
    color = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous()
    return Picture(color, None, False, Metadata(), "PNG")


def test_what_pools_is_near_the_whole_result(scene: Image.Image) -> None:
    picture, area = photo(scene, 300), Area(Span(100, 132), Span(120, 152))
    upscaler = enlarger("esc-fp", 2)
    whole = enlarge_part(upscaler, picture, area, exact=True).color.float()
    made = enlarge_part(upscaler, picture, area).color.float()
    alone = upscaler.to_size(cut_out(picture, area), (64, 64)).picture.color.float()
    assert float((made - whole).abs().max()) <= 2
    near, far = (float((one - whole).square().mean()) for one in (made, alone))
    assert near < 0.1
    assert far > 2 * near


def test_alpha_has_samples_of_its_own() -> None:
    """If the samples are the picture itself, its result is that of the picture."""
    picture, upscaler = noise(20, 24, alpha=True), enlarger("esc-fp", 2).models.upscaler(2)
    whole, part, other = (
        enlarge(picture, upscaler, (40, 48), samples=samples).picture
        for samples in (None, picture, replace(picture, alpha=torch.full_like(picture.color[:, :1], 255)))
    )
    assert whole.alpha is not None
    assert part.alpha is not None
    assert other.alpha is not None
    assert difference(part.color, whole.color) <= 1
    assert difference(part.alpha, whole.alpha) <= 1
    assert difference(other.alpha, whole.alpha) > 0


def test_the_work_does_not_grow_with_the_picture() -> None:
    area = Area(Span(1000, 1128), Span(1000, 1128))
    expected = (128 + 2 * MARGIN_PX) ** 2 + 256**2
    assert work_px(area, 3000, 4000) == work_px(area, 30_000, 40_000) == expected
    assert work_px(Area(Span(0, 8), Span(0, 8)), 10, 20) == 200
