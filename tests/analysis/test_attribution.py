from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import nn

from esc_cli.analysis.attribution import (
    Attribution,
    Window,
    attribution,
    diffusion_index,
    first_of_crop,
    gini,
    reach_px,
)
from esc_cli.errors import InputError, UsageError, WeightsError
from esc_cli.networks.architectures.esc import ESC

VALUES = st.lists(st.just(0.0) | st.floats(1e-9, 1e3), min_size=1, max_size=30)
"""Lists of values. No value is so small that a factor makes it 0."""


@given(VALUES)
def test_gini_is_half_the_relative_mean_difference(values: list[float]) -> None:
    total = sum(values)
    differences = sum(abs(a - b) for a in values for b in values)
    expected = differences / (2 * len(values) * total) if total else 0.0
    assert gini(torch.tensor(values, dtype=torch.float64)) == pytest.approx(expected, abs=1e-9)


@given(VALUES, st.floats(0.01, 100))
def test_neither_order_nor_scale_counts(values: list[float], factor: float) -> None:
    tensor = torch.tensor(values, dtype=torch.float64)
    assert gini(tensor.flip(0) * factor) == pytest.approx(gini(tensor), abs=1e-9)


def test_one_pixel_and_all_alike() -> None:
    single = torch.zeros(20, 50)
    single[3, 7] = 0.1
    assert diffusion_index(single) == pytest.approx(100 / 1000)
    assert diffusion_index(torch.full((20, 50), 0.1)) == pytest.approx(100)
    assert gini(torch.tensor([0.0, 1.0, 1.0])) == pytest.approx(1 / 3)


def test_distance_within_which_a_share_lies() -> None:
    attribution = torch.tensor([[1.0, 0.0, 6.0, 2.0, 1.0]])
    distances_px = torch.tensor([[2.0, 1.0, 0.0, 1.0, 2.5]])
    reaches = [reach_px(attribution, distances_px, share) for share in (0.5, 0.6, 0.61, 0.85, 0.95, 1)]
    assert reaches == [0, 0, 1, 2, 2.5, 2.5]


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (44, 60, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "noise.png")
    return tmp_path / "noise.png"


def test_where_it_is_known(tmp_path: Path) -> None:
    """Blur adds a constant to a parabola, and contributions between the ends of a slope cancel each other."""
    columns = np.arange(16, dtype=np.uint8) ** 2
    Image.fromarray(np.tile(columns[None, :, None], (12, 1, 3))).save(tmp_path / "slope.png")
    found = attribution(
        tmp_path / "slope.png", "nearest", 2, position=(8, 12), window_px=4, is_low=True, device="cpu"
    )
    expected = torch.zeros(12, 16)
    expected[4:6, 6] = expected[4:6, 8] = 1
    torch.testing.assert_close(found.map, expected, rtol=0, atol=1e-3)
    assert found.diffusion_index == pytest.approx(100 * 4 / (12 * 16), abs=0.1)
    assert (found.reach_px(0.4), found.reach_px(0.99)) == (0, 0.5)


@pytest.mark.parametrize(("model", "reach"), [("nearest", 0.5), ("bicubic", 2.5)])
def test_nothing_comes_from_beyond_a_networks_reach(noise: Path, model: str, reach: float) -> None:
    """The objective itself compares each pixel with the next one."""
    found = attribution(noise, model, 2, position=(10, 20), window_px=6, device="cpu")
    assert (found.model, found.scale, found.window) == (model, 2, Window(10, 20, 6))
    assert found.low.shape == (1, 3, 22, 30)
    assert found.map.shape == (22, 30)
    assert float(found.map.max()) == 1
    assert 0 < found.reach_px(1) <= np.hypot(reach, reach)
    touched = found.map.nonzero()
    assert touched.amin(dim=0).tolist() >= [5 - np.ceil(reach), 10 - np.ceil(reach)]


def test_a_network_with_attention_reads_its_windows(
    noise: Path, network: ESC, save_network: Callable[[nn.Module], Path]
) -> None:
    seen: list[tuple[int, int]] = []
    found = attribution(
        noise,
        save_network(network),
        window_px=4,
        crop_px=20,
        device="cpu",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert found.window == Window(18, 18, 4)  # 20, 28 in the whole result; the crop begins at 2, 10
    assert found.map.shape == (20, 20)
    assert found.reach_px(1) > 6
    blind = attribution(noise, "bicubic", 2, window_px=4, crop_px=20, device="cpu")
    assert found.diffusion_index > blind.diffusion_index
    assert seen[-1] == (50, 50)


def test_the_crop_is_what_lies_around_the_window(noise: Path) -> None:
    whole = attribution(noise, "nearest", 2, position=(30, 8), window_px=4, device="cpu")
    part = attribution(noise, "nearest", 2, position=(30, 8), window_px=4, crop_px=6, device="cpu")
    rows, columns = slice(13, 19), slice(2, 8)
    assert part.window == Window(4, 4, 4)
    assert torch.equal(part.low, whole.low[..., rows, columns])


@given(st.integers(1, 4), st.data())
def test_every_crop_holds_its_window(scale: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, 40))
    window_px = data.draw(st.integers(1, side * scale))
    start = data.draw(st.integers(0, side * scale - window_px))
    crop_px = data.draw(st.integers(-(-window_px // scale) + 2, 60))
    first = first_of_crop(start, window_px, crop_px, side, scale)
    assert 0 <= first * scale <= start
    assert start + window_px <= min(first + crop_px, side) * scale
    assert first + crop_px <= side or first == 0


def test_reach_is_measured_from_the_windows_edge() -> None:
    map = torch.zeros(8, 8)
    map[2, 2] = 1
    found = Attribution("model", 2, torch.zeros(1, 3, 8, 8), Window(8, 10, 4), map)
    assert found.reach_px(1) == pytest.approx(np.hypot(1.5, 2.5))


def test_what_cannot_be_attributed(tmp_path: Path, noise: Path) -> None:
    Image.new("RGB", (40, 40), (9, 9, 9)).save(tmp_path / "flat.png")
    with pytest.raises(InputError, match="flat in the window"):
        attribution(tmp_path / "flat.png", "bicubic", 2, device="cpu")
    with pytest.raises(UsageError, match="a window of 16 pixels at 30,0 is not inside the result of 44x60"):
        attribution(noise, "nearest", 2, position=(30, 0), device="cpu")
    with pytest.raises(UsageError, match="a window of 50 pixels"):
        attribution(noise, "nearest", 2, window_px=50, device="cpu")
    with pytest.raises(UsageError, match="a window of this size needs a crop of at least 10 pixels, not 9"):
        attribution(noise, "nearest", 2, crop_px=9, device="cpu")
    with pytest.raises(InputError, match="no such file"):
        attribution(tmp_path / "missing.png", "nearest", 2, device="cpu")
    with pytest.raises(InputError, match="smaller than 4x4"):
        Image.new("RGB", (3, 9)).save(tmp_path / "tiny.png")
        attribution(tmp_path / "tiny.png", "nearest", 4, device="cpu")
    with pytest.raises(WeightsError, match="no model"):
        attribution(noise, "nonsense", device="cpu")
