"""A run learns, writes what is needed, and goes on after a kill as if nothing had happened."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.errors import InputError, OutputError, UsageError
from esc_cli.networks import variants
from esc_cli.networks.esc import ESCConfig
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import train

CPU = torch.device("cpu")
CONFIG = TrainingConfig(
    variant="tiny",
    steps=12,
    batch_size=2,
    patch_px=8,
    learning_rate=1e-3,
    warm_up_steps=1,
    zero_head=True,
    validation_pictures=2,
    validate_every=4,
)


@pytest.fixture(autouse=True)
def _tiny_variant(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more entry in the table of variants: the published ones take too long for a test."""

    def tiny(scale: int) -> ESCConfig:
        return ESCConfig(
            scale, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, kernel_size=5
        )

    monkeypatch.setitem(variants.VARIANTS, "tiny", tiny)


def test_resumed_run_equals_an_undisturbed_one(pictures: Path, tmp_path: Path) -> None:
    whole = train(CONFIG, pictures, tmp_path / "whole", device=CPU, quiet=True)
    train(dataclasses.replace(CONFIG, steps=5), pictures, tmp_path / "parts", device=CPU, quiet=True)
    state = torch.load(tmp_path / "parts" / "state.pt", weights_only=True)
    state["config"]["steps"] = 12  # as if the run had been killed after step 5 of 12
    torch.save(state, tmp_path / "parts" / "state.pt")
    parts = train(CONFIG, pictures, tmp_path / "parts", device=CPU, resume=True, quiet=True)
    first, second = read_state_dict(whole), read_state_dict(parts)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_run_learns_and_leaves_a_log(pictures: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=60, learning_rate=3e-3, validate_every=20)
    train(config, pictures, tmp_path / "run", device=CPU, quiet=True)
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == [20, 40, 60]
    assert log[-1]["psnr"] > log[0]["psnr"]
    split = json.loads((tmp_path / "run" / "pictures.json").read_text())
    assert len(split["training"]) == 8
    assert not set(split["training"]) & set(split["validation"])


def test_runs_are_not_mixed_up(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run to resume"):
        train(CONFIG, pictures, tmp_path / "none", device=CPU, resume=True, quiet=True)
    train(dataclasses.replace(CONFIG, steps=1), pictures, tmp_path / "run", device=CPU, quiet=True)
    with pytest.raises(OutputError, match="already"):
        train(CONFIG, pictures, tmp_path / "run", device=CPU, quiet=True)
    (tmp_path / "run" / "state.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match="damaged"):
        train(CONFIG, pictures, tmp_path / "run", device=CPU, resume=True, quiet=True)


def test_a_run_killed_before_its_first_state_starts_anew(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("of the run before\n")
    train(dataclasses.replace(CONFIG, steps=4), pictures, tmp_path, device=CPU, quiet=True)
    assert [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()] == [4]


def test_variants_have_their_scales(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="always x4"):
        train(dataclasses.replace(CONFIG, variant="esc-real"), pictures, tmp_path, device=CPU, quiet=True)
    with pytest.raises(UsageError, match="no variant 'nonsense'"):
        train(dataclasses.replace(CONFIG, variant="nonsense"), pictures, tmp_path, device=CPU, quiet=True)


def test_bfloat16_and_initial_weights(pictures: Path, tmp_path: Path) -> None:
    first = train(dataclasses.replace(CONFIG, steps=2), pictures, tmp_path / "x2", device=CPU, quiet=True)
    config = dataclasses.replace(CONFIG, scale=3, steps=2, precision="bfloat16")
    second = train(config, pictures, tmp_path / "x3", device=CPU, initial=first, quiet=True)
    assert read_state_dict(second)["to_img.weight"].shape[0] == 27
