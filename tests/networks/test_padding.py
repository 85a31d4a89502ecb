"""Padding by reflection equals that of NumPy for every size."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.networks.padding import pad_to_multiple, reflect_pad

SIDE = st.integers(1, 9)
PAD = st.integers(0, 20)


@given(height=SIDE, width=SIDE, left=PAD, right=PAD, top=PAD, bottom=PAD)
def test_equals_numpy(height: int, width: int, left: int, right: int, top: int, bottom: int) -> None:
    picture = torch.arange(height * width, dtype=torch.float32).view(1, 1, height, width)
    padded = reflect_pad(picture, left, right, top, bottom)
    expected = np.pad(picture[0, 0].numpy(), ((top, bottom), (left, right)), mode="reflect")
    assert np.array_equal(padded[0, 0].numpy(), expected)


@given(height=SIDE, width=SIDE, multiple=st.integers(1, 16))
def test_pads_to_a_multiple(height: int, width: int, multiple: int) -> None:
    padded = pad_to_multiple(torch.zeros(1, 3, height, width, dtype=torch.uint8), multiple)
    assert all(side % multiple == 0 for side in padded.shape[-2:])
    assert padded.shape[-2] - height < multiple
    assert padded.shape[-1] - width < multiple
