"""Test that degradation supports any size, depends only on its random numbers, and stays in its ranges."""

import dataclasses
import io
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from esc_cli.evaluation.degradation.bicubic import downscale
from esc_cli.evaluation.degradation.names import WildDegradation
from esc_cli.evaluation.degradation.wild import (
    RECIPES,
    Degradation,
    JpegRanges,
    NoiseRanges,
    degrade,
    recipe_of,
)
from esc_cli.evaluation.metrics import psnr

NAMES: tuple[WildDegradation, ...] = get_args(WildDegradation)
SILENT = NoiseRanges(0, 0.5, (0, 0), (0, 0), 0.5)


def test_every_name_has_a_recipe() -> None:
    assert tuple(RECIPES) == NAMES


def smooth_picture(height: int, width: int) -> torch.Tensor:
    torch.manual_seed(0)
    small = torch.rand(1, 3, 6, 6)
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic").clamp(0, 1)


def only(recipe: Degradation, **changes: object) -> Degradation:
    """Return the recipe with one stage that has the given changes and no other blur, noise or JPEG."""
    stage = recipe.stages[0]
    quiet = dataclasses.replace(
        stage,
        blur=dataclasses.replace(stage.blur, chance=0),
        noise=SILENT,
        jpeg=dataclasses.replace(stage.jpeg, chance=0),
    )
    return dataclasses.replace(recipe, stages=(dataclasses.replace(quiet, **changes),), clean_chance=0)


@given(
    st.sampled_from(NAMES),
    st.sampled_from([2, 3, 4]),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(0, 999),
)
@settings(max_examples=60)
def test_sizes_ranges_and_determinism(
    name: WildDegradation, scale: int, height: int, width: int, seed: int
) -> None:
    high = torch.from_numpy(
        np.random.default_rng(seed).random((2, 3, height * scale, width * scale), np.float32)
    )
    before = high.clone()
    low = degrade(high, scale, recipe_of(name, scale), np.random.default_rng(seed))
    assert low.shape == (2, 3, height, width)
    assert low.dtype == torch.float32
    assert low.min() >= 0
    assert low.max() <= 1
    torch.testing.assert_close(low * 255, (low * 255).round(), atol=1e-4, rtol=0)
    assert torch.equal(high, before)
    assert torch.equal(low, degrade(high, scale, recipe_of(name, scale), np.random.default_rng(seed)))


@pytest.mark.parametrize("name", NAMES)
def test_different_numbers_give_different_pictures(name: WildDegradation) -> None:
    high = smooth_picture(96, 80)
    results = [degrade(high, 2, recipe_of(name, 2), np.random.default_rng(seed)) for seed in (1, 2)]
    assert not torch.equal(*results)


def test_jpeg_alone_is_what_pillow_makes_of_the_small_picture() -> None:
    high = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), np.uint8))
    recipe = only(recipe_of("robust", 2), jpeg=JpegRanges(1.0, (75, 75)))
    low = degrade(high / 255, 2, recipe, np.random.default_rng(0))
    file = io.BytesIO()
    Image.fromarray(downscale(high, 2)[0].permute(1, 2, 0).numpy()).save(file, "JPEG", quality=75)
    expected = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)
    assert torch.equal((low[0] * 255).round().to(torch.uint8), expected)


def test_clean_pictures_are_those_of_the_protocol() -> None:
    high = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 3, 64, 96), np.uint8))
    recipe = dataclasses.replace(recipe_of("robust", 4), clean_chance=1.0)
    low = degrade(high / 255, 4, recipe, np.random.default_rng(0))
    assert torch.equal((low * 255).round().to(torch.uint8), downscale(high, 4))


def test_noise_stays_in_its_range() -> None:
    high = torch.full((1, 3, 200, 200), 0.5)
    recipe = only(recipe_of("robust", 2), noise=NoiseRanges(1.0, 1.0, (5, 9), (0, 0), 0.4))
    sigmas = [
        float(degrade(high, 2, recipe, np.random.default_rng(seed))[:, 0].std()) * 255 for seed in range(20)
    ]
    assert 4.8 < min(sigmas) < 6
    assert 8 < max(sigmas) < 9.2


def test_the_second_order_is_much_worse_than_the_robust_one() -> None:
    high = smooth_picture(192, 192)
    clean = downscale(high, 4)

    def mean_psnr(name: WildDegradation) -> float:
        randoms = [np.random.default_rng(seed) for seed in range(20)]
        lows = [degrade(high, 4, recipe_of(name, 4), random) for random in randoms]
        return sum(psnr(low * 255, clean * 255) for low in lows if not torch.equal(low, clean)) / 20

    assert 20 < mean_psnr("real") < mean_psnr("robust") - 3


def test_chances_are_chances() -> None:
    for name in NAMES:
        for stage in recipe_of(name, 4).stages:
            assert sum(stage.blur.shape_chances) == pytest.approx(1)
            assert sum(stage.resize.chances) == pytest.approx(1)
