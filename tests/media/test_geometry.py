import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.media.geometry import resize

SIZES = st.integers(min_value=1, max_value=40)


@given(SIZES, SIZES, SIZES, SIZES)
@example(2, 1, 3, 1)  # found by this test: torch's own answer is wrong one pixel wide
@settings(max_examples=60, deadline=None)
def test_it_is_pillows_bicubic(height: int, width: int, new_height: int, new_width: int) -> None:
    values = torch.rand((1, 1, height, width), generator=torch.Generator().manual_seed(height)) * 255
    ours = resize(values / 255, new_height, new_width)[0, 0] * 255
    image = Image.fromarray(values[0, 0].numpy()).resize((new_width, new_height), Image.Resampling.BICUBIC)
    np.testing.assert_allclose(ours.numpy(), np.asarray(image), atol=1e-3)


@pytest.mark.parametrize("size", [(7, 200), (333, 11), (64, 64)])
def test_bytes_differ_from_pillows_bytes_by_rounding_alone(size: tuple[int, int]) -> None:
    # Far from 0 and 255, since Pillow also clamps between its two passes.
    generator = torch.Generator().manual_seed(1)
    picture = torch.randint(90, 160, (2, 3, 48, 50), dtype=torch.uint8, generator=generator)
    ours = resize(picture, *size)
    assert ours.dtype == torch.uint8
    image = Image.fromarray(picture[1].permute(1, 2, 0).numpy()).resize(size[::-1], Image.Resampling.BICUBIC)
    difference = ours[1].permute(1, 2, 0).numpy().astype(int) - np.asarray(image)
    assert np.abs(difference).max() <= 1


def test_a_constant_stays_one_and_floats_overshoot() -> None:
    assert (resize(torch.full((1, 3, 9, 5), 77, dtype=torch.uint8), 31, 44) == 77).all()
    edge = torch.tensor([0.0, 0.0, 1.0, 1.0], dtype=torch.float64).expand(1, 1, 4, 4)
    resized = resize(edge, 16, 16)
    assert resized.dtype == torch.float64
    assert resized.max() > 1.01
    assert resize((edge * 255).to(torch.uint8), 16, 16).max() == 255


def test_halves_are_rounded_to_even() -> None:
    # Halving two bytes whose neighbors are equal to them gives their mean.
    for low, expected in ((10, 10), (11, 12)):
        picture = torch.tensor([[low, low + 1]], dtype=torch.uint8).repeat(1, 1, 1, 1)
        assert resize(picture, 1, 1).item() == expected


def test_the_same_size_costs_nothing() -> None:
    picture = torch.rand((1, 3, 8, 9))
    assert resize(picture, 8, 9) is picture


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        resize(torch.zeros((1, 3, 4, 4), dtype=torch.int64), 8, 8)
