import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.enhancement.bleeding import bleed
from esc_cli.media.pixels.alpha import composite, largest_value


def noise(channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.randint(0, 256, (1, channels, height, width), dtype=torch.uint8, generator=generator)


@given(st.integers(1, 33), st.integers(1, 33), st.floats(0, 1))
@settings(max_examples=60)
def test_visible_pixels_keep_their_bits(height: int, width: int, hidden: float) -> None:
    color, alpha = noise(3, height, width), noise(1, height, width)
    alpha[alpha < 256 * hidden] = 0
    filled = bleed(color, alpha)
    assert filled.dtype == torch.uint8
    assert torch.where(alpha < 255 / 8, color, filled).equal(color)


def test_hidden_pixels_take_the_colors_nearby() -> None:
    color = torch.zeros((1, 3, 32, 64), dtype=torch.uint8)
    alpha = torch.zeros((1, 1, 32, 64), dtype=torch.uint8)
    color[:, 0, :, :8], color[:, 1, :, -8:] = 200, 100  # red at the left, green at the right, black between
    alpha[..., :8], alpha[..., -8:] = 255, 255
    filled = bleed(color, alpha)
    assert filled[0, :, 16, 8].tolist()[0] > 170
    assert filled[0, :, 16, -9].tolist()[1] > 80
    assert filled.sum(1).min() >= 99  # no black is left: every pixel is a mean of red and green


@pytest.mark.parametrize("opacity", [1, 8])
def test_colors_that_are_hardly_visible_are_not_believed(opacity: int) -> None:
    """The picture is white, with black where its soft edge is almost transparent.

    Premultiplying in 8 bits leaves such edges.
    """
    color = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    alpha = torch.full((1, 1, 16, 16), 255, dtype=torch.uint8)
    color[..., 8:], alpha[..., 8:] = 0, opacity
    assert bleed(color, alpha)[..., 8:].min() > 230


def test_one_color_spreads_without_a_change() -> None:
    alpha = (noise(1, 37, 23) > 250).to(torch.uint8) * 3
    color = torch.where(alpha > 0, torch.tensor((10, 128, 255), dtype=torch.uint8).view(1, 3, 1, 1), 77)
    assert (bleed(color, alpha) == torch.tensor((10, 128, 255)).view(1, 3, 1, 1)).all()


@pytest.mark.parametrize("opacity", [0, 255])
def test_nothing_to_do_returns_the_input(opacity: int) -> None:
    color = noise(3, 5, 7)
    assert bleed(color, torch.full((1, 1, 5, 7), opacity, dtype=torch.uint8)) is color


@pytest.mark.parametrize("dtype", [torch.uint16, torch.float32])
def test_more_bits_are_filled_and_laid_on_white_alike(dtype: torch.dtype) -> None:
    color, alpha = noise(3, 24, 31), noise(1, 24, 31)
    alpha[alpha < 100] = 0
    white = largest_value(dtype)
    deep_color, deep_alpha = ((plane / 255 * white).to(dtype) for plane in (color, alpha))
    before = deep_color.clone()
    for narrow, deep in (
        (bleed(color, alpha), bleed(deep_color, deep_alpha)),
        (composite(color, alpha, (255, 128, 0)), composite(deep_color, deep_alpha, (255, 128, 0))),
    ):
        assert deep.dtype == dtype
        assert (deep.float() / white * 255 - narrow.float()).abs().max() < 0.51
    assert deep_color.equal(before)


def test_color_and_alpha_may_differ_in_type() -> None:
    color, alpha = noise(3, 16, 16), noise(1, 16, 16)
    alpha[alpha < 128] = 0
    filled = bleed(color.float() / 255, alpha)
    assert filled.dtype == torch.float32
    assert (filled * 255 - bleed(color, alpha)).abs().max() < 0.51
