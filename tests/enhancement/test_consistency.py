import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from esc_cli.enhancement import consistency
from esc_cli.enhancement.consistency import FLAT_RADIUS_PX, keep_flat, make_consistent
from esc_cli.enhancement.resize import resize

SIDES = st.integers(min_value=1, max_value=24)
DTYPES = [torch.uint8, torch.uint16, torch.float32]


def _largest(dtype: torch.dtype) -> int:
    return 1 if dtype.is_floating_point else torch.iinfo(dtype).max


def _noise(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    unit = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return unit if dtype.is_floating_point else (unit * _largest(dtype)).round().to(dtype)


def _agreement_db(high: Tensor, low: Tensor) -> float:
    """Return the PSNR of the input against the result that Pillow has made small again, in dB."""
    height, width = low.shape[-2:]
    errors = []
    for plane, expected in zip(high[0].to(torch.float32), low[0].to(torch.float64), strict=True):
        small = Image.fromarray(plane.numpy()).resize((width, height), Image.Resampling.BICUBIC)
        errors.append(((np.array(small) - expected.numpy()) ** 2).mean())
    return float(10 * np.log10(_largest(low.dtype) ** 2 / np.mean(errors)))


# Constant areas stay constant


@pytest.mark.parametrize("dtype", DTYPES)
def test_flat_white_stays_white_up_to_the_borders(dtype: torch.dtype) -> None:
    low = torch.full((1, 3, 9, 12), _largest(dtype), dtype=dtype)
    high = _noise((1, 3, 36, 48), dtype)
    assert keep_flat(high, low) is high
    assert (high == _largest(dtype)).all()


def test_only_what_is_flat_all_around_is_touched() -> None:
    low = torch.full((1, 3, 20, 20), 255, dtype=torch.uint8)
    low[0, 1, :, 10] = 254  # in one channel only
    high = _noise((1, 3, 40, 40), torch.uint8)
    kept = keep_flat(high.clone(), low)
    left, right = 2 * (10 - FLAT_RADIUS_PX), 2 * (11 + FLAT_RADIUS_PX)
    assert (kept[..., :left] == 255).all()
    assert (kept[..., right:] == 255).all()
    assert torch.equal(kept[..., left:right], high[..., left:right])


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(DTYPES))
@settings(max_examples=60)
def test_each_pixel_is_its_own_or_the_one_below(
    height: int, width: int, high_height: int, high_width: int, dtype: torch.dtype
) -> None:
    low = _noise((2, 3, 1, width), dtype).repeat(1, 1, height, 1)
    low[..., width // 2 :] = low[..., :1, :1]  # half is constant, with one color for each picture
    high = _noise((2, 3, high_height, high_width), dtype, seed=1)
    kept = keep_flat(high.clone(), low)
    # The nearest pixel as Pillow computes it
    index = Image.fromarray(np.arange(height * width, dtype=np.int32).reshape(height, width))
    nearest = np.array(index.resize((high_width, high_height), Image.Resampling.NEAREST)).astype(np.int64)
    below = low.flatten(2)[..., torch.from_numpy(nearest.reshape(-1))].view(high.shape)
    changed = (kept != high).any(dim=1, keepdim=True).expand_as(kept)
    assert torch.equal(kept[changed], below[changed])
    if width // 2 <= width - 1 - 2 * FLAT_RADIUS_PX and high_width >= width:
        assert torch.equal(kept[..., -1], below[..., -1])


def test_a_picture_without_flat_parts_is_left_alone() -> None:
    low, high = _noise((1, 3, 12, 12), torch.uint8), _noise((1, 3, 24, 24), torch.uint8, seed=1)
    assert torch.equal(keep_flat(high.clone(), low), high)


@pytest.mark.parametrize("correct", [keep_flat, make_consistent])
def test_strips_leave_no_trace(correct: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(correct)
    low = _noise((1, 3, 30, 40), torch.uint8)
    low[..., :, 12:30] = 77
    high = _noise((1, 3, 60, 80), torch.uint8, seed=1)
    whole = correct(high.clone(), low)
    monkeypatch.setattr(consistency, "_STRIP_SAMPLES", 200)
    monkeypatch.setattr("esc_cli.enhancement.resize._STRIP_SAMPLES", 200)
    assert torch.equal(correct(high.clone(), low), whole)
    assert not torch.equal(whole, high)


# Reduced to the size of the input, the result equals the input


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("factor", [2, 4, 1.5])
def test_corrections_bring_the_result_to_the_input(dtype: torch.dtype, factor: float) -> None:
    original = resize(_noise((1, 3, 12, 10), dtype), 96, 80)  # smooth
    original = original.clamp(0, 1) if dtype.is_floating_point else original
    low = resize(original, round(96 / factor), round(80 / factor))
    darker = (original.to(torch.float32) * 0.9).to(dtype)
    before = _agreement_db(darker, low)
    once = _agreement_db(make_consistent(darker.clone(), low, iterations=1), low)
    corrected = make_consistent(darker, low)
    assert corrected is darker
    assert corrected.dtype == dtype
    assert before < 30 < once - 5 < _agreement_db(corrected, low) - 5
    assert corrected.to(torch.float32).max() <= _largest(dtype)


def test_what_agrees_already_stays_as_it_is() -> None:
    original = _noise((1, 3, 32, 48), torch.uint8)
    flat = torch.full((1, 3, 32, 48), 99, dtype=torch.uint8)
    assert torch.equal(make_consistent(flat.clone(), flat[..., :8, :12]), flat)
    low = resize(original, 16, 24)
    worse = make_consistent(255 - original, low)
    assert _agreement_db(make_consistent(original.clone(), low), low) > _agreement_db(worse, low)
