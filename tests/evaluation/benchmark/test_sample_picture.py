from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from esc_cli.errors import InputError
from esc_cli.evaluation.benchmark.sample_picture import cut_to, sample_picture


def slope(picture: Tensor) -> float:
    """Return the mean difference of neighboring pixels, divided by that of random pairs of pixels."""
    near = (picture[..., 1:] - picture[..., :-1]).abs().mean()
    far = (picture - picture.flatten()[torch.randperm(picture.numel())].view_as(picture)).abs().mean()
    return float(near / far)


def test_the_drawn_picture_is_always_the_same_and_like_a_photo(shared: Path) -> None:
    drawn = sample_picture()
    assert (drawn.shape, drawn.dtype) == ((1, 3, 256, 256), torch.float32)
    assert torch.equal(drawn, sample_picture())
    assert torch.equal(drawn, (drawn * 255).round() / 255)
    assert (drawn.min(), drawn.max()) == (0, 1)
    photos = [slope(sample_picture(path)) for path in sorted((shared / "images" / "Set14").iterdir())]
    assert min(photos) < slope(drawn) < max(photos)
    assert slope(torch.rand_like(drawn)) > 3 * max(photos)


def test_a_picture_of_the_users(tmp_path: Path) -> None:
    Image.new("RGB", (5, 3), (255, 0, 51)).save(tmp_path / "a.png")
    picture = sample_picture(tmp_path / "a.png")
    assert picture.shape == (1, 3, 3, 5)
    assert picture[0, :, 0, 0].tolist() == pytest.approx([1, 0, 0.2])
    with pytest.raises(InputError):
        sample_picture(tmp_path / "missing.png")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 90), st.integers(1, 90))
def test_any_size_is_cut_or_mirrored(height: int, width: int, wanted_height: int, wanted_width: int) -> None:
    picture = torch.rand(1, 3, height, width)
    cut = cut_to(picture, wanted_height, wanted_width)
    assert cut.shape == (1, 3, wanted_height, wanted_width)
    there = (..., slice(min(height, wanted_height)), slice(min(width, wanted_width)))
    assert torch.equal(cut[there], picture[there])
    if wanted_width > width > 1:
        assert torch.equal(cut[..., width], cut[..., width - 2])
