import re
import shutil
from pathlib import Path

import pytest

from esc_cli.errors import InputError
from esc_cli.training.pairs import find_files, split_by_source


def test_no_source_is_on_both_sides(pictures: Path) -> None:
    split = split_by_source(pictures, held_out=2)
    sources = [{path.stem.split("_")[0] for path in side} for side in (split.training, split.validation)]
    assert [len(side) for side in sources] == [4, 2]
    assert not sources[0] & sources[1]
    assert len(split.training) + len(split.validation) == 12
    # The choice must not change: the runs of the shipped models started from each other, so another choice
    # would hold out pictures that these models have seen.
    assert {path.stem.split("_")[0] for path in split.validation} == {"1", "5"}


def test_too_few_pictures(pictures: Path) -> None:
    with pytest.raises(InputError, match="6 pictures"):
        split_by_source(pictures, held_out=6)


def test_a_foreign_manifest_is_none(pictures: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        shutil.copyfile(pictures / "0_0.png", tmp_path / name)
    for encoding in ("utf-8", "latin-1"):
        (tmp_path / "manifest.csv").write_text("name;größe\na.png;3\n", encoding=encoding)
        assert len(split_by_source(tmp_path, 1).training) == 1


def test_a_missing_small_picture_is_reported_with_the_folder(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    shutil.copyfile(pictures / "0_0.png", tmp_path / "inner" / "0_0.png")
    with pytest.raises(InputError, match=re.escape(f"no picture in {str(tmp_path)!r} has the same name")):
        find_files((pictures / "0_0.png",), pictures, low=tmp_path, lessons=None)
