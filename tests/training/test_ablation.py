"""Test ablations and the plot of their curves."""

import dataclasses
from pathlib import Path

import pytest
import torch

from esc_cli.errors import UsageError
from esc_cli.networks.ablations import PUBLISHED
from esc_cli.training import ablation
from esc_cli.training.ablation import Trained, ablate, draw_curves, known_networks
from esc_cli.training.configuration import TrainingConfig

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    steps=2, batch_size=1, patch_px=16, validation_pictures=1, validate_every=1, warm_up_steps=0
)
NAMES = ("esc", "convolutional-attention-only")


@pytest.fixture(autouse=True)
def small_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "LATENCY_PX", 32)
    monkeypatch.setattr(ablation, "ROUNDS", 1)


def test_networks_are_trained_and_measured_and_a_second_call_trains_no_more(
    pictures: Path, tmp_path: Path
) -> None:
    begun: list[str] = []
    run = {"test": pictures, "device": CPU, "quiet": True, "announce": begun.append}
    esc, other = ablate(NAMES, CONFIG, pictures, tmp_path, **run)  # type: ignore[arg-type]
    assert begun == list(NAMES)
    assert (esc.name, esc.parameters, other.name) == ("esc", 946_728, NAMES[1])
    assert esc.multiply_accumulates == pytest.approx(592.0e9, abs=0.1e9)  # the paper's figure
    assert other.multiply_accumulates < esc.multiply_accumulates
    assert [step for step, _ in esc.curve] == [1, 2]
    assert esc.latency_s > 0
    assert esc.psnr is not None
    written = {name: (tmp_path / name / "weights.safetensors").stat().st_mtime_ns for name in NAMES}
    longer = dataclasses.replace(CONFIG, steps=9)
    again = ablate(NAMES, longer, pictures, tmp_path, **run)  # type: ignore[arg-type]
    assert [one.curve for one in again] == [esc.curve, other.curve]
    assert written == {name: (tmp_path / name / "weights.safetensors").stat().st_mtime_ns for name in NAMES}


def test_unknown_networks_are_refused_before_anything_is_trained(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no network 'esc-quick'"):
        ablate(("esc", "esc-quick"), CONFIG, pictures, tmp_path, device=CPU)
    assert not list(tmp_path.iterdir())


def test_each_published_row_stands_beside_a_network() -> None:
    assert set(PUBLISHED) <= set(known_networks())


def test_each_network_is_a_line(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curves = {"esc": ((1, 30.0), (2, 31.0)), "kernel-9": ((1, 30.0), (2, 30.5))}
    trained = [Trained(name, 1, 1, 1.0, None, None, curve) for name, curve in curves.items()]
    draw_curves(trained, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    for word in (*curves, "steps"):
        assert word in text
