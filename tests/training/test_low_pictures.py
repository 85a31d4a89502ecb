"""Test that training can read the pictures that ``.ci/make_low_pictures`` writes."""

import csv
import subprocess
import sys
from pathlib import Path

import torch

from esc_cli.training.pairs import Files, find_files, load_pair, split_by_source

SCRIPT = Path(__file__).parents[2] / ".ci" / "make_low_pictures"


def make(*arguments: object) -> None:
    subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], check=True)


def test_whole_pictures_are_those_that_training_makes(pictures: Path, tmp_path: Path) -> None:
    make(pictures, tmp_path, "--scale", 2)
    paths = sorted(pictures.glob("*.png"))
    for files in find_files(paths, pictures, low=tmp_path / "low"):
        made, read = load_pair(Files(files.high), 2), load_pair(files, 2)
        assert made is not None
        assert read is not None
        assert torch.equal(made.low, read.low)


def test_patches_come_in_pairs_from_what_is_not_held_out(pictures: Path, tmp_path: Path) -> None:
    small = ("--degradation", "robust", "--count", 12, "--patch-px", 8)
    for folder in ("one", "two"):
        make(pictures, tmp_path / folder, "--scale", 1, *small, "--validation-pictures", 2)
    high, low = tmp_path / "one" / "high", tmp_path / "one" / "low"
    paths = sorted(high.glob("*.png"))
    pairs = [load_pair(files, 1) for files in find_files(paths, high, low=low)]
    assert len(pairs) == 12
    assert all(pair is not None and pair.low.shape == (3, 8, 8) for pair in pairs)
    assert any(not torch.equal(pair.low, pair.high) for pair in pairs if pair is not None)
    with (high / "manifest.csv").open(newline="") as lines:
        sources = {row["original_path"] for row in csv.DictReader(lines)}
    held_out = {path.name[0] for path in split_by_source(pictures, 2).validation}
    assert len(sources) == 4
    assert not {name[0] for name in sources} & held_out
    same = [(tmp_path / folder / "low" / "000007.png").read_bytes() for folder in ("one", "two")]
    assert same[0] == same[1]
