"""Test that patches depend only on seed, step and number, match each other, and are degraded on request."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.evaluation.degradation.artifacts import sharpen
from esc_cli.evaluation.degradation.names import WildDegradation
from esc_cli.evaluation.degradation.wild import recipe_of
from esc_cli.training.pairs import (
    Files,
    Pair,
    Pairs,
    centre_crop,
    find_files,
    load_pair,
    load_pairs,
    split_by_source,
)
from esc_cli.training.patches import batch_of_step, room_px

CPU = torch.device("cpu")


def training_files(pictures: Path) -> list[Files]:
    return find_files(split_by_source(pictures, 2).training, pictures)


def test_batches_depend_on_seed_and_step_alone(pictures: Path) -> None:
    pairs = load_pairs(training_files(pictures), 2, 8, CPU)

    def batch(step: int, seed: int) -> torch.Tensor:
        return batch_of_step(pairs, step, range(3), seed=seed, patch_px=8).high

    assert torch.equal(batch(5, 1), batch(5, 1))
    assert not torch.equal(batch(5, 1), batch(6, 1))
    assert not torch.equal(batch(5, 1), batch(5, 2))


def test_samples_do_not_depend_on_who_cuts_them(pictures: Path) -> None:
    pairs = load_pairs(training_files(pictures), 2, 8, CPU)
    whole = batch_of_step(pairs, 7, range(4), seed=0, patch_px=8)
    parts = [batch_of_step(pairs, 7, range(rank, 4, 2), seed=0, patch_px=8) for rank in range(2)]
    for rank, part in enumerate(parts):
        assert torch.equal(part.low, whole.low[rank::2])
        assert torch.equal(part.high, whole.high[rank::2])


@pytest.mark.parametrize("name", ["robust", "real"])
def test_degraded_patches_are_made_anew_and_lie_where_the_originals_do(name: WildDegradation) -> None:
    scale, patch_px = 2, 8
    side = room_px(patch_px, recipe_of(name, scale))
    ramp = torch.linspace(0, 255, scale * side).to(torch.uint8).expand(3, scale * side, -1)
    pair = Pair(ramp[:, ::scale, ::scale], ramp)
    batch = batch_of_step(
        Pairs([pair], CPU), 0, range(100), seed=0, patch_px=patch_px, recipe=recipe_of(name, scale)
    )
    lows, highs = batch.low, batch.high
    assert lows.shape == (100, 3, patch_px, patch_px)
    assert highs.shape == (100, 3, scale * patch_px, scale * patch_px)
    assert len({float(low.mean()) for low in lows}) > 50
    # The mean of a ramp shows its place. If the means differ, the patches come from different places.
    errors = lows.mean((1, 2, 3)) - highs.mean((1, 2, 3))
    assert float(errors.abs().median()) * 255 < 1.5


def test_patches_match_and_are_turned_alike() -> None:
    low = torch.arange(12 * 10, dtype=torch.uint8).view(1, 12, 10).expand(3, -1, -1)
    high = low.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for step in range(20):
        batch = batch_of_step(
            Pairs([Pair(low, high, lesson=255 - high)], CPU), step, range(2), seed=0, patch_px=7
        )
        assert batch.low.shape == (2, 3, 7, 7)
        assert torch.equal(batch.high, batch.low.repeat_interleave(2, 2).repeat_interleave(2, 3))
        assert batch.lesson is not None
        torch.testing.assert_close(batch.lesson, 1 - batch.high)


def test_low_pictures_are_made_from_the_whole(pictures: Path) -> None:
    pair = load_pair(Files(pictures / "0_0.png"), 4)
    assert pair is not None
    assert pair.high.shape == (3, 68, 80)
    assert pair.low.shape == (3, 17, 20)
    crop = centre_crop(pair, 8)
    assert crop.low.shape == (3, 8, 8)
    assert torch.equal(crop.low, pair.low[:, 4:12, 6:14])
    assert torch.equal(crop.high, pair.high[:, 16:48, 24:56])


def test_sharpened_originals_are_made_small_sharpened(pictures: Path) -> None:
    plain, sharp = (
        load_pair(Files(pictures / "0_0.png"), 2, sharpened=sharpened) for sharpened in (False, True)
    )
    assert plain is not None
    assert sharp is not None
    assert not torch.equal(plain.low, sharp.low)
    expected = sharpen(plain.high[None] / 255)[0]
    torch.testing.assert_close(sharp.high / 255, expected, atol=0.51 / 255, rtol=0)


def test_a_picture_smaller_than_the_scale_is_no_pair(tmp_path: Path) -> None:
    Image.new("RGB", (3, 40)).save(tmp_path / "thin.png")
    assert load_pair(Files(tmp_path / "thin.png"), 4) is None


def test_pictures_without_room_are_left_out(pictures: Path) -> None:
    with pytest.raises(InputError, match="patches of 80 pixels"):
        load_pairs([Files(pictures / "0_0.png")], 2, 40, CPU)


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """Make folders with a picture in high and in low resolution and a lesson, all with the same name."""
    for name, size in (("high", (16, 24)), ("low", (8, 12)), ("lesson", (16, 24))):
        (tmp_path / name / "sub").mkdir(parents=True)
        Image.new("RGB", size, "blue" if name == "low" else "red").save(tmp_path / name / "sub" / "a.webp")
    return tmp_path


def test_pictures_of_the_same_name_belong_together(beside: Path) -> None:
    (beside / "lesson" / "sub" / "a.webp").rename(beside / "lesson" / "sub" / "a.png")  # still WebP inside
    paths = [beside / "high" / "sub" / "a.webp"]
    (files,) = find_files(paths, beside / "high", low=beside / "low", lessons=beside / "lesson")
    pair = load_pair(files, 2)
    assert pair is not None
    assert pair.lesson is not None
    assert (pair.low.shape, pair.high.shape, pair.lesson.shape) == ((3, 12, 8), (3, 24, 16), (3, 24, 16))
    assert pair.low[2].min() > 200 > pair.low[0].max()  # blue: it was read, not made from the red picture


def test_pictures_that_do_not_belong_together_are_refused(beside: Path) -> None:
    paths = [beside / "high" / "sub" / "a.webp"]
    (files,) = find_files(paths, beside / "high", low=beside / "lesson")
    with pytest.raises(InputError, match=r"a\.webp' must have 8x12 pixels, not 16x24"):
        load_pair(files, 2)
    (beside / "low" / "sub" / "a.webp").rename(beside / "low" / "sub" / "b.webp")
    with pytest.raises(InputError, match=r"no picture .* has the same name as"):
        find_files(paths, beside / "high", low=beside / "low")
    with pytest.raises(InputError, match="no folder"):
        find_files(paths, beside / "high", lessons=beside / "nowhere")
