import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture
from esc_cli.media.pixels.depth import (
    depth_written,
    from_floats,
    from_integers,
    from_wide_integers,
    quantized,
    unpremultiplied,
    with_depth,
)


@given(st.sampled_from([1, 2, 4, 8, 9, 10, 12, 14, 15, 16]))
def test_integers_fill_all_16_bits_and_come_back(bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint16).reshape(-1, 1, 1)
    pixels = from_integers(values, bits)
    assert (pixels.values.min(), pixels.values.max()) == (0, 65_535)
    assert np.array_equal(quantized(pixels.values, bits), values)
    exact = values.astype(np.float64) * 65_535 / (2**bits - 1)
    assert np.abs(pixels.values - exact).max() <= 0.5
    assert pixels.depth_bits == next(depth for depth in (8, 10, 12, 16) if bits <= depth)


def test_wide_integers_take_the_smallest_usual_range() -> None:
    for values, expected in (([0, 255], [0, 65_535]), ([0, 256], [0, 65_535]), ([0, 2**31], [0, 65_535])):
        pixels = from_wide_integers(np.array(values, np.uint32).reshape(1, -1, 1))
        assert pixels.values.flatten().tolist() == expected
        assert pixels.notes == ("32-bit integers were reduced to 16 bits per channel",)


def test_floats_are_parts_of_their_range() -> None:
    values = np.array([[[-1.0, 0.5], [3.0, 1.0], [np.nan, 0.0], [np.inf, 0.25]]])
    pixels = from_floats(values)
    assert pixels.value_range == (-1.0, 3.0)
    assert pixels.values.dtype == np.float32
    assert pixels.values[0, :, 0].tolist() == [0, 1, 0, 1]
    assert pixels.values[0, :, 1].tolist() == [0.5, 1, 0, 0.25]  # alpha in [0, 1], whatever the colors' range
    assert pixels.no_data is None
    of_bytes = from_floats(np.array([[[51.0, 102.0], [255.0, 255.0]]]))
    assert of_bytes.values[0, 0].tolist() == pytest.approx([0.2, 0.4])  # alpha in the range of the colors


def test_colors_are_divided_by_their_alpha() -> None:
    values = np.array([[[100, 32_768], [7, 0], [9000, 9000], [65_535, 30_000]]], np.uint16)
    assert unpremultiplied(values)[0, :, 0].tolist() == [200, 0, 65_535, 65_535]
    floats = unpremultiplied(np.array([[[0.25, 0.5], [0.3, 0]]], np.float32))
    assert floats[0, :, 0].tolist() == [0.5, 0]


@pytest.mark.parametrize(
    ("bits", "offered", "written"),
    [
        (8, (8, 16, 32), 8),
        (10, (8, 10, 12), 10),
        (12, (8, 16), 16),
        (16, (8, 10, 12), 12),
        (16, (8, 32), 8),
        (32, (8, 16, 32), 32),
        (32, (8, 16), 16),
        (32, (8,), 8),
    ],
)
def test_as_many_bits_or_the_next(bits: int, offered: tuple[int, ...], written: int) -> None:
    assert depth_written(bits, offered) == written


def test_reduction_rounds() -> None:
    values = torch.arange(0, 65_536).to(torch.uint16).view(1, 1, 256, 256).expand(-1, 3, -1, -1)
    deep = Picture(values, values[:, :1], False, Metadata(), "PNG", depth_bits=16)
    narrow = with_depth(deep, 8)
    assert narrow.depth_bits == 8
    expected = (np.arange(65_536) / 257).round()
    assert narrow.alpha is not None
    for plane in (*narrow.color[0], narrow.alpha[0, 0]):
        assert np.array_equal(plane.flatten().numpy(), expected)
    assert with_depth(deep, 16) is deep
    assert len(np.unique(with_depth(deep, 10).color.numpy())) == 1024


def test_floats_become_integers() -> None:
    values = torch.tensor([0, 0.5, 1, 1 / 65_535]).view(1, 1, 2, 2).expand(-1, 3, -1, -1)
    floats = Picture(values, None, True, Metadata(), "TIFF", depth_bits=32, value_range=(0, 255))
    assert with_depth(floats, 16).color[0, 0].flatten().tolist() == [0, 32_768, 65_535, 1]
    assert with_depth(floats, 8).color[0, 0].flatten().tolist() == [0, 128, 255, 0]


def test_floats_that_overshoot_one_are_no_dark_bytes() -> None:
    pixels = from_floats(np.linspace(0, 1.1, 12).reshape(1, -1, 1))
    assert pixels.value_range == (0.0, pytest.approx(1.1))
    assert pixels.values.max() == 1
    assert from_floats(np.linspace(0, 40.0, 12).reshape(1, -1, 1)).value_range == (0.0, 255.0)
