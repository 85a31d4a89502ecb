"""The shipped models are intact, listed in the manifest, and described by the model card."""

import csv
import dataclasses
import re
import shutil
from pathlib import Path

import pytest

from esc_cli.checkpoints.manifest import auto_models, read_manifest, verify, weights_folder
from esc_cli.checkpoints.model_card import SETS, render_model_card
from esc_cli.errors import WeightsError


def test_shipped_files_are_whole() -> None:
    entries = read_manifest()
    assert entries
    for entry in entries:
        verify(entry)
        assert set(SETS) <= set(entry.psnr)


def test_every_shipped_file_is_in_the_manifest() -> None:
    listed = {entry.path.name for entry in read_manifest()}
    assert {path.name for path in weights_folder().glob("*.safetensors")} == listed


def test_every_training_picture_is_licensed_for_free_use_and_in_no_evaluation_set() -> None:
    with (weights_folder() / "training-pictures.csv").open(encoding="utf-8", newline="") as lines:
        pictures = list(csv.DictReader(lines))
    free = re.compile(r"CC0|CC BY(?!-N)|GPL|public domain|Unsplash|Pexels")  # not NC, not ND
    evaluated = re.compile(r"set5|set14|b100|bsd|urban100|manga109|div2k.*valid|selfexsr", re.IGNORECASE)
    for picture in pictures:
        assert free.search(picture["licence"]), picture
        assert picture["source"], picture
        assert not evaluated.search(picture["source"] + picture["path"]), picture
        assert re.fullmatch("[0-9a-f]{40}", picture["commit"]), picture
    for entry in read_manifest():
        assert entry.training_data.startswith(f"{len(pictures)} "), entry.name


def test_model_card_is_up_to_date() -> None:
    card = (weights_folder() / "README.md").read_text(encoding="utf-8")
    assert card == render_model_card(read_manifest()), "the model card is out of date: run .ci/ship_model"


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    entry = read_manifest()[0]
    copy = tmp_path / entry.path.name
    shutil.copyfile(entry.path, copy)
    content = bytearray(copy.read_bytes())
    content[-1] ^= 1
    copy.write_bytes(content)
    with pytest.raises(WeightsError, match="damaged"):
        verify(dataclasses.replace(entry, path=copy))
    copy.unlink()
    with pytest.raises(WeightsError, match="missing"):
        verify(dataclasses.replace(entry, path=copy))


@pytest.mark.parametrize("content", ["not toml", "[esc]\nx2 = 3", "[esc.x2]\nfile = 'a'", "[esc.x]"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.toml").write_text(content)
    with pytest.raises(WeightsError, match="list of models is damaged"):
        read_manifest(tmp_path)


def test_a_robust_model_of_full_size_is_chosen_first() -> None:
    entries = [entry for entry in read_manifest() if entry.name in ("esc", "esc-light-robust")]
    light = next(entry for entry in entries if entry.name == "esc-light-robust")
    full = dataclasses.replace(light, name="z-robust", network="esc", scale=4)
    small = dataclasses.replace(light, name="a-robust", network="esc-fp", scale=4)
    assert auto_models([*entries, small, full], 4) == ("esc", "z-robust")
    assert auto_models([*entries, small, full], 2.5) == ("esc", "z-robust")
    assert auto_models([*entries, small, full], 2) == ("esc", "esc-light-robust")  # only this one has x2
    assert auto_models([*entries, small, full], 8) == ("esc", "esc-light-robust")  # the others make x16
    assert auto_models([small, *entries], 4) == ("esc", "a-robust")
    clean = [entry for entry in entries if entry.degradation != "robust"]
    assert auto_models(clean, 4) == ("esc", "esc")


def test_the_shipped_manifest_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_manifest()
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: pytest.fail("the manifest was read again"))
    assert read_manifest() is first
