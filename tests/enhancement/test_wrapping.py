"""Test that what is done besides the network lets borders wrap, too."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.upscaler import Upscaler
from esc_cli.enhancement.consistency import keep_flat
from esc_cli.enhancement.enlarge import enlarge
from esc_cli.enhancement.resize import resize
from esc_cli.enhancement.wrapping import Margins, wrapped_bleed
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture

BOTH = Wraps(True, True)


def picture(color: Tensor, alpha: Tensor | None = None, **more: Any) -> Picture:
    return Picture(color, alpha, False, Metadata(), "PNG", **more)


def noise(height: int, width: int, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (1, channels, height, width), generator=generator, dtype=torch.uint8)


def difference(one: Tensor, other: Tensor) -> int:
    return int((one.int() - other.int()).abs().max())


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_margins_keep_the_ratio_and_are_wide_enough(height: int, width: int, new_h: int, new_w: int) -> None:
    margins = Margins.between((height, width), (new_h, new_w), BOTH)
    for low_px, high_px, old, new in zip(
        margins.low_px, margins.high_px, (height, width), (new_h, new_w), strict=True
    ):
        assert low_px * new == high_px * old
        assert low_px >= 4
        assert low_px >= 4 * old / new
    assert margins.crop(torch.zeros(1, 1, *margins.size)).shape[-2:] == (new_h, new_w)
    assert Margins.between((height, width), (new_h, new_w), NOT_WRAPPED).size == (new_h, new_w)


@pytest.mark.parametrize("size", [(12, 18), (36, 54), (10, 15)])
@pytest.mark.parametrize("alpha_is_data", [False, True])
def test_a_resized_picture_is_rolled(size: tuple[int, int], alpha_is_data: bool) -> None:
    """Halves may be rounded up in one place and down in another."""
    color, alpha = noise(24, 36), noise(24, 36, 1)
    step = (24, 36) if size == (10, 15) else (12, 12)
    by = (step[0] * size[0] // 24, step[1] * size[1] // 36)

    def made(*shift: int) -> Picture:
        rolled = picture(color.roll(shift, (2, 3)), alpha.roll(shift, (2, 3)), alpha_is_data=alpha_is_data)
        return enlarge(rolled, None, size, wraps=BOTH).picture

    expected, rolled = made(0, 0), made(*step)
    assert difference(rolled.color, expected.color.roll(by, (2, 3))) <= 1
    assert rolled.alpha is not None
    assert expected.alpha is not None
    assert difference(rolled.alpha, expected.alpha.roll(by, (2, 3))) <= 1


def test_a_resized_picture_is_the_middle_of_many() -> None:
    color = noise(14, 22)
    high = enlarge(picture(color), None, (9, 15), wraps=BOTH).picture.color
    many = resize(color.repeat(1, 1, 3, 3), 27, 45, linear_light=True)
    assert difference(high, many[..., 9:18, 15:30]) <= 1
    assert difference(high, resize(color, 9, 15, linear_light=True)) > 8


def test_a_factor_between_those_of_the_network() -> None:
    color = noise(24, 36)
    upscaler = Upscaler("bicubic", scale=2, device="cpu", seamless="x")

    def made(low: Tensor) -> Tensor:
        return enlarge(picture(low), upscaler, (36, 54), wraps=upscaler.wraps).picture.color

    assert difference(made(color.roll(10, 3)), made(color).roll(15, 3)) <= 1


def test_visible_colors_do_not_depend_on_the_place() -> None:
    color, alpha = noise(16, 16), torch.zeros(1, 1, 16, 16, dtype=torch.uint8)
    alpha[..., 4:12, :3], alpha[..., 4:12, 13:] = 255, 255
    filled = wrapped_bleed(color, alpha, Wraps(False, True))
    rolled = wrapped_bleed(color.roll(8, 3), alpha.roll(8, 3), Wraps(False, True))
    visible = (alpha == 255).expand(-1, 3, -1, -1)
    assert torch.equal(filled[visible], color[visible])
    beside = filled[..., 4:12, 3].int() - rolled.roll(-8, 3)[..., 4:12, 3].int()
    assert beside.abs().max() <= 8


def test_flat_borders_are_flat_only_if_the_other_side_is() -> None:
    low = torch.full((1, 3, 10, 10), 200, dtype=torch.uint8)
    low[..., 8:] = 0
    high = noise(20, 20)
    assert (keep_flat(high.clone(), low)[..., :4] == 200).all()
    wrapped = keep_flat(high.clone(), low, Wraps(False, True))
    assert torch.equal(wrapped[..., :4], high[..., :4])
    assert (wrapped[..., 4:12] == 200).all()
