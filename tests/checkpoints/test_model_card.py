"""The model card compares only comparable figures, and omits figures that were not recorded."""

import dataclasses

import pytest

from esc_cli.checkpoints.manifest import ModelEntry, read_manifest
from esc_cli.checkpoints.model_card import BICUBIC, PUBLISHED, SETS, render_model_card, render_models_table


@pytest.fixture
def entry() -> ModelEntry:
    figures = dict.fromkeys(SETS, 38.0)
    return dataclasses.replace(
        read_manifest()[0], name="esc", scale=2, psnr=figures, ssim={}, minutes=None, hardware="", teacher=""
    )


def test_published_figures_and_the_gap_stand_beside_ours(entry: ModelEntry) -> None:
    card = render_model_card([entry])
    assert "| esc | x2 | Set5 | 38.00 | 33.68 / 0.9305 | 38.35 / 0.9619 | 0.35 |\n" in card
    assert f"| {entry.training_data} |  | {entry.steps:,} |" in card
    known = dataclasses.replace(
        entry, ssim={"Set5": 0.96}, minutes=90.0, hardware="two cores", teacher="DAT-light x2 (Apache-2.0)"
    )
    card = render_model_card([known])
    assert "| Set5 | 38.00 / 0.9600 | 33.68 / 0.9305 |" in card
    date = entry.date.isoformat()
    assert f"| DAT-light x2 (Apache-2.0) | {entry.steps:,} | 90 | two cores | {date} |" in card


def test_a_model_of_another_purpose_has_no_published_counterpart(entry: ModelEntry) -> None:
    card = render_model_card([dataclasses.replace(entry, name="esc-light-robust")])
    assert "| esc-light-robust | x2 | Set5 | 38.00 | 33.68 / 0.9305 |  |  |\n" in card


def test_a_model_for_degraded_pictures_is_compared_on_those(entry: ModelEntry) -> None:
    assert "degraded" not in render_model_card([entry])
    figures = {name: {"ours": 27.0, "clean": 26.0, "bicubic": 25.5} for name in SETS}
    robust = dataclasses.replace(entry, name="esc-light-robust", degradation="robust", psnr_degraded=figures)
    card = render_model_card([entry, robust])
    assert "| esc-light-robust | x2 | robust | Set14 | 27.00 | 26.00 | 25.50 |\n" in card
    short = render_models_table([entry, robust])
    assert "| **esc** (auto) | x2 | clean pictures |" in short
    assert "| **esc-light-robust** (auto) | x2 | JPEG, slight blur and noise |" in short


@pytest.mark.parametrize("key", PUBLISHED)
def test_published_figures_are_above_bicubic_and_fall_with_the_scale(key: tuple[str, int]) -> None:
    name, scale = key
    for ours, bicubic in zip(PUBLISHED[key], BICUBIC[scale], strict=True):
        assert ours > bicubic
    if scale < 4:
        assert all(one > other for one, other in zip(PUBLISHED[key], PUBLISHED[name, scale + 1], strict=True))
