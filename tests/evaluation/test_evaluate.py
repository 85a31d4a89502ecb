"""The protocol gives the figures that every paper gives for bicubic upscaling."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from esc_cli.checkpoints.model_card import BICUBIC, SETS, Score
from esc_cli.errors import InputError, UsageError, WeightsError
from esc_cli.evaluation.degradation.names import WildDegradation
from esc_cli.evaluation.evaluate import evaluate

PAPERS = {
    2: (Score(33.66, 0.9299), Score(30.24, 0.8688), Score(29.56, 0.8431)),
    3: (Score(30.39, 0.8682), Score(27.55, 0.7742), Score(27.21, 0.7385)),
    4: (Score(28.42, 0.8104), Score(26.00, 0.7027), Score(25.96, 0.6675)),
}
"""Scores of bicubic upscaling, as in every paper of the field. Source: RCAN (arXiv 1807.02758), table 2."""


@pytest.mark.parametrize("scale", PAPERS)
@pytest.mark.parametrize(("index", "name"), list(enumerate(SETS)))
def test_bicubic_is_as_published(shared: Path, scale: int, index: int, name: str) -> None:
    evaluation = evaluate(shared / "images" / name, "bicubic", scale)
    assert evaluation.psnr == pytest.approx(PAPERS[scale][index].psnr, abs=0.03)
    # The papers' MATLAB code rounds luma before it computes SSIM.
    assert evaluation.ssim == pytest.approx(PAPERS[scale][index].ssim, abs=0.001)
    assert evaluation.psnr == pytest.approx(BICUBIC[scale][index].psnr, abs=0.001)  # the model card's figure
    assert evaluation.ssim == pytest.approx(BICUBIC[scale][index].ssim, abs=0.0001)


def test_sub_folders_gray_files_and_progress(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "sub").mkdir()
    Image.fromarray(random.integers(0, 256, (21, 16), np.uint8)).save(tmp_path / "gray.png")
    Image.fromarray(random.integers(0, 256, (16, 17, 3), np.uint8)).save(tmp_path / "sub" / "color.png")
    (tmp_path / "notes.txt").write_text("no picture")
    seen: list[tuple[int, int]] = []
    evaluation = evaluate(tmp_path, "nearest", 2, progress=lambda done, total: seen.append((done, total)))
    assert [score.name for score in evaluation.pictures] == ["gray.png", "sub/color.png"]
    assert seen == [(1, 2), (2, 2)]
    assert evaluation.psnr == pytest.approx(sum(score.psnr for score in evaluation.pictures) / 2)


def test_what_cannot_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pictures"):
        evaluate(tmp_path, "bicubic", 2)
    with pytest.raises(InputError, match="no folder"):
        evaluate(tmp_path / "missing", "bicubic", 2)
    Image.new("RGB", (3, 1)).save(tmp_path / "tiny.png")
    with pytest.raises(InputError, match="smaller than 2x2"):
        evaluate(tmp_path, "bicubic", 2)
    with pytest.raises(WeightsError, match="no model"):
        evaluate(tmp_path, "nonsense", 2)


@pytest.mark.parametrize("degradation", ["robust", "real"])
def test_degraded_pictures_are_the_same_for_every_model_and_beside_any_others(
    tmp_path: Path, degradation: WildDegradation
) -> None:
    random = np.random.default_rng(0)
    names = [*(f"{number}.png" for number in range(7)), os.fsdecode(b"\xff.png")]
    for name in names:
        pixels = np.kron(random.integers(0, 256, (12, 12, 3), np.uint8), np.ones((4, 4, 1), np.uint8))
        Image.fromarray(pixels).save(tmp_path / name)
    degraded, again = (evaluate(tmp_path, "bicubic", 4, degradation=degradation) for _ in range(2))
    assert degraded == again
    assert (degraded.degradation, degraded.psnr < evaluate(tmp_path, "bicubic", 4).psnr) == (
        degradation,
        True,
    )
    assert len({score.psnr for score in degraded.pictures}) == len(names)
    for name in names[:-1]:
        (tmp_path / name).unlink()
    assert evaluate(tmp_path, "bicubic", 4, degradation=degradation).pictures == degraded.pictures[-1:]


def test_auto_is_scored_on_degraded_pictures_only(tmp_path: Path, scene: Image.Image) -> None:
    scene.crop((0, 0, 128, 96)).save(tmp_path / "a.png")
    by_auto, robust = (
        evaluate(tmp_path, model, 4, degradation="real", device="cpu") for model in ("auto", "esc-robust")
    )
    assert (by_auto.model, by_auto.pictures) == ("auto", robust.pictures)
    with pytest.raises(UsageError, match="cannot be scored by the protocol"):
        evaluate(tmp_path, "auto")
