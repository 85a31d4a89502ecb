from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from esc_cli import upscale
from esc_cli.errors import InputError, UsageError, WeightsError
from esc_cli.evaluation.comparison import Comparison, compare
from esc_cli.evaluation.evaluate import evaluate
from esc_cli.evaluation.windows import Window
from esc_cli.media.color.profiles import Primaries, rgb_profile, srgb_curve
from esc_cli.media.contact_sheet import LINE_PX

Pixels = npt.NDArray[np.uint8]
Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that writes pixels: ``save("a.png", pixels)``."""

    def save(name: str, pixels: npt.NDArray[Any], **options: Any) -> Path:
        Image.fromarray(pixels).save(tmp_path / name, **options)
        return tmp_path / name

    return save


def noise(*shape: int) -> Pixels:
    """Return noise that is smooth enough to survive shrinking."""
    pixels = np.random.default_rng(0).integers(0, 256, (*shape[:2], *shape[2:]), np.uint8)
    image = Image.fromarray(pixels).resize((2 * shape[1], 2 * shape[0]), Image.Resampling.BICUBIC)
    return np.array(image)


def crop_of(comparison: Comparison, model: int, number: int = 0) -> Pixels:
    return comparison.models[model].crops[number][0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("shape", [(33, 30, 3), (33, 30)], ids=["color", "gray"])
def test_psnr_is_that_of_evaluate(tmp_path: Path, save: Save, shape: tuple[int, ...]) -> None:
    path = save("a.png", noise(*shape))
    comparison = compare(path, ["nearest"], 4, shrink=True)
    assert [column.name for column in comparison.models] == ["bicubic", "nearest"]
    for column in comparison.models:
        assert column.psnr == pytest.approx(evaluate(tmp_path, column.name, 4).psnr)


def test_an_original_is_compared_as_the_shrunk_picture_is(save: Save) -> None:
    pixels = noise(21, 31, 3)  # 42x62: the last two rows and columns are a remainder
    image = Image.fromarray(pixels)
    low = image.crop((0, 0, 60, 40)).resize((15, 10), Image.Resampling.BICUBIC)
    original, named = save("high.png", pixels), save("low.png", np.asarray(low))
    given = compare(named, ["bicubic"], 4, original=original, windows=[Window(1, 2, 6, 8)])
    shrunk = compare(original, ["bicubic"], 4, shrink=True, windows=[Window(4, 8, 24, 32)])
    assert given.models[0].psnr == pytest.approx(shrunk.models[0].psnr, abs=0.01)
    assert given.models[0].crop_psnrs == pytest.approx(shrunk.models[0].crop_psnrs, abs=0.05)
    assert given.original is not None
    assert np.array_equal(given.original.crops[0][0].permute(1, 2, 0), pixels[4:28, 8:40])


def test_no_crop_is_cut_from_the_remainder(save: Save) -> None:
    pixels = np.full((63, 63, 3), 90, np.uint8)
    pixels[40:, 40:] = noise(12, 12, 3)[:23, :23]  # the detail lies in the corner
    path = save("a.png", pixels)
    comparison = compare(path, ["nearest"], 4, shrink=True)
    assert {column.crops[0].shape for column in comparison.models} == {(1, 3, 20, 20)}
    assert comparison.sheet().height > 0
    with pytest.raises(UsageError, match="not inside 60x60 pixels"):
        compare(path, ["nearest"], 4, shrink=True, windows=[Window(0, 58, 5, 5)])


def test_psnr_of_a_crop(save: Save) -> None:
    pixels = noise(20, 20, 3)
    comparison = compare(save("a.png", pixels), ["nearest"], 2, shrink=True, windows=[Window(5, 7, 11, 13)])
    # BT.601 luma from 16 to 235. Pillow's own conversion differs in its rounding and its range.
    weights = np.array([65.481, 128.553, 24.966]) / 255
    error = (crop_of(comparison, 1) @ weights) - (pixels[5:16, 7:20] @ weights)
    expected = 10 * np.log10(255**2 / np.mean(error**2))
    assert comparison.models[1].crop_psnrs == pytest.approx([expected])


def test_crops_are_cut_where_the_picture_was_pointed_at(save: Save) -> None:
    pixels = noise(10, 12, 3)
    windows = [Window(2, 3, 5, 4), Window(0, 0, 5, 4)]
    comparison = compare(save("a.png", pixels), ["nearest"], 3, windows=windows)
    assert comparison.windows == tuple(windows)
    assert np.array_equal(crop_of(comparison, 1), np.kron(pixels[2:7, 3:7], np.ones((3, 3, 1), np.uint8)))
    assert np.array_equal(crop_of(comparison, 1, 1)[::3, ::3], pixels[:5, :4])
    assert comparison.original is None
    assert {(column.psnr, column.crop_psnrs) for column in comparison.models} == {(None, ())}


def test_the_sheet_has_a_row_for_each_crop_and_a_column_for_each_model(save: Save) -> None:
    path = save("a.png", noise(200, 200, 3))
    windows = [Window(0, 0, 130, 300), Window(99, 1, 130, 300)]
    sheet = compare(path, ["nearest", "bicubic", "nearest"], 2, shrink=True, windows=windows).sheet()
    assert (sheet.height, sheet.width) == (2 * (130 + 2 * LINE_PX) + 8, 3 * 300 + 2 * 8)
    original = sheet.color[0, :, :130, 2 * 308 :].permute(1, 2, 0)
    assert np.array_equal(original, noise(200, 200, 3)[:130, :300])
    assert int(sheet.color[..., 130 : 130 + LINE_PX, :].max()) == 255


def test_small_crops_are_magnified_for_their_captions(save: Save) -> None:
    sheet = compare(save("a.png", noise(20, 20, 3)), [], 2, windows=[Window(0, 0, 10, 30)]).sheet()
    assert (sheet.height, sheet.width) == (4 * 20 + 2 * LINE_PX, 4 * 60)


def test_places_are_chosen_that_do_not_leave_the_result(save: Save) -> None:
    comparison = compare(save("a.png", noise(150, 160, 3)), [], 2, count=4)
    assert len(comparison.windows) == 4
    assert {column.crops[3].shape for column in comparison.models} == {(1, 3, 160, 160)}
    small = compare(save("b.png", noise(15, 20, 3)), [], 2)
    assert {column.crops[0].shape for column in small.models} == {(1, 3, 20, 20)}


def test_gray_is_shown_as_gray(save: Save, tmp_path: Path) -> None:
    sheet = compare(save("a.png", noise(20, 20)), ["esc-light"], 2).sheet()
    assert sheet.gray
    assert bool((sheet.color[:, :1] == sheet.color).all())


def test_what_is_transparent_is_shown_on_white(save: Save) -> None:
    pixels = noise(10, 10, 4)
    pixels[:, :10, 3] = 0
    pixels[:, 10:, 3] = 255
    comparison = compare(save("a.png", pixels), ["nearest"], 2, windows=[Window(0, 0, 20, 20)])
    shown = crop_of(comparison, 1)[::2, ::2]
    assert shown[:, :10].min() == 255
    assert np.array_equal(shown[:, 10:], pixels[:, 10:, :3])


def test_sixteen_bits_are_shown_with_eight(save: Save) -> None:
    path = save("a.png", np.arange(400, dtype=np.uint16).reshape(20, 20) * 160)
    sheet = compare(path, ["nearest"], 2).sheet()
    assert (sheet.depth_bits, sheet.gray) == (8, True)


def test_colors_of_a_profile_are_shown_in_srgb(save: Save) -> None:
    swapped = rgb_profile(Primaries((0.30, 0.60), (0.15, 0.06), (0.64, 0.33)), srgb_curve())
    pixels = noise(10, 10, 3)
    path = save("a.png", pixels, icc_profile=swapped)
    comparison = compare(path, ["nearest"], 2, windows=[Window(0, 0, 20, 20)])
    difference = crop_of(comparison, 1)[::2, ::2].astype(int) - pixels[..., [2, 0, 1]]
    assert abs(difference).max() <= 2
    assert comparison.sheet().metadata.icc_profile is None


def test_what_is_shown_is_what_users_get(save: Save, tmp_path: Path) -> None:
    """The network alone would tint gray and see the hidden colors of transparent areas."""
    pixels = noise(20, 24, 2)
    pixels[..., 1] = np.where(pixels[..., 1] < 100, 0, 255)
    path = save("a.png", pixels)
    comparison = compare(path, ["esc-light"], 2, windows=[Window(0, 0, 40, 48)], device="cpu")
    upscale(path, tmp_path / "b.png", model="esc-light", scale=2, device="cpu")
    with Image.open(tmp_path / "b.png") as got:
        white = Image.new("LA", got.size, (255, 255))
        expected = np.asarray(Image.alpha_composite(white.convert("RGBA"), got.convert("RGBA")))[..., :3]
    assert abs(crop_of(comparison, 1).astype(int) - expected).max() <= 1


def test_auto_says_which_model_it_took(save: Save) -> None:
    column = compare(save("a.png", noise(20, 24, 3)), ["auto"], 2).models[1]
    assert column.name == "auto"
    assert column.model in ("esc", "esc-robust")
    assert column.title == f"auto ({column.model})"


def test_progress_is_that_of_all_models_together(save: Save) -> None:
    seen: list[tuple[int, int]] = []
    path = save("a.png", noise(10, 12, 3))
    compare(path, ["nearest"], 2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(480, 960), (960, 960)]


def test_what_cannot_be_compared(save: Save, tmp_path: Path) -> None:
    path, other = save("a.png", noise(4, 5, 3)), save("b.png", noise(8, 9, 3))
    with pytest.raises(InputError, match="16x18 pixels, not 2 times the 8x10"):
        compare(path, [], 2, original=other)
    with pytest.raises(UsageError, match="cannot have another one"):
        compare(path, [], 2, original=other, shrink=True)
    with pytest.raises(InputError, match="8x10 pixels cannot be shrunk by 9"):
        compare(path, [], 9, shrink=True)
    with pytest.raises(UsageError, match="0,0,9,2 is not inside 8x10"):
        compare(path, [], 2, windows=[Window(0, 0, 9, 2)])
    with pytest.raises(UsageError, match="the same size"):
        compare(path, [], 2, windows=[Window(0, 0, 3, 3), Window(0, 0, 4, 3)])
    with pytest.raises(WeightsError, match="no model 'unknown'"):
        compare(path, ["unknown"], 2)
    with pytest.raises(InputError):
        compare(tmp_path / "missing.png", [], 2)
