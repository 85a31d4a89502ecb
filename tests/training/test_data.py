"""What is trained on: no source on both sides, and batches that depend on seed and step alone."""

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from esc_cli.errors import InputError
from esc_cli.training.data import Pair, batch_of_step, centre_crop, load_pair, load_pairs, split_by_source

CPU = torch.device("cpu")


def test_no_source_is_on_both_sides(pictures: Path) -> None:
    split = split_by_source(pictures, held_out=2, seed=0)
    sources = [{path.stem.split("_")[0] for path in side} for side in (split.training, split.validation)]
    assert [len(side) for side in sources] == [4, 2]
    assert not sources[0] & sources[1]
    assert len(split.training) + len(split.validation) == 12
    assert split == split_by_source(pictures, held_out=2, seed=0)
    assert split != split_by_source(pictures, held_out=2, seed=1)


def test_too_few_pictures(pictures: Path) -> None:
    with pytest.raises(InputError, match="6 pictures"):
        split_by_source(pictures, held_out=6, seed=0)


def test_batches_depend_on_seed_and_step_alone(pictures: Path) -> None:
    pairs = load_pairs(split_by_source(pictures, 2, 0).training, 2, 8, CPU)

    def batch(step: int, seed: int) -> torch.Tensor:
        return batch_of_step(pairs, step, seed=seed, batch_size=3, patch_px=8)[1]

    assert torch.equal(batch(5, 1), batch(5, 1))
    assert not torch.equal(batch(5, 1), batch(6, 1))
    assert not torch.equal(batch(5, 1), batch(5, 2))


def test_patches_match_and_are_turned_alike() -> None:
    low = torch.arange(12 * 10, dtype=torch.uint8).view(1, 12, 10).expand(3, -1, -1)
    high = low.repeat_interleave(2, 1).repeat_interleave(2, 2)
    for step in range(20):
        patch, target = batch_of_step([Pair(low, high)], step, seed=0, batch_size=2, patch_px=7)
        assert patch.shape == (2, 3, 7, 7)
        assert torch.equal(target, patch.repeat_interleave(2, 2).repeat_interleave(2, 3))


def test_low_pictures_are_made_from_the_whole(pictures: Path) -> None:
    pair = load_pair(pictures / "0_0.png", 4)
    assert pair is not None
    assert pair.high.shape == (3, 60, 68)
    assert pair.low.shape == (3, 15, 17)
    crop = centre_crop(pair, 8, 4)
    assert crop.low.shape == (3, 8, 8)
    assert torch.equal(crop.low, pair.low[:, 3:11, 4:12])
    assert torch.equal(crop.high, pair.high[:, 12:44, 16:48])


def test_a_picture_smaller_than_the_scale_is_no_pair(tmp_path: Path) -> None:
    Image.new("RGB", (3, 40)).save(tmp_path / "thin.png")
    assert load_pair(tmp_path / "thin.png", 4) is None


def test_a_foreign_manifest_is_none(pictures: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copyfile(pictures / "0_0.png", tmp_path / name)
    (tmp_path / "manifest.csv").write_text("name;size\na.png;3\n")
    assert len(split_by_source(tmp_path, 1, 0).training) == 1


def test_pictures_without_room_are_left_out(pictures: Path) -> None:
    with pytest.raises(InputError, match="patches of 80 pixels"):
        load_pairs((pictures / "0_0.png",), 2, 40, CPU)
