"""Test that a run learns, writes its files, and continues after a kill as if nothing had happened."""

import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.checkpoints.files import read_state_dict
from esc_cli.errors import InputError, OutputError, UsageError, WeightsError
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import train
from esc_cli.training.pairs import Files, load_pair
from esc_cli.training.run import new_run
from esc_cli.training.run_folder import load_state, save_state

CPU = torch.device("cpu")
TINY_RUN = Path(__file__).with_name("tiny_run.py")
KILL_DELAYS_S = ("0.0", "0.13", "0.05")

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
EVERYTHING = dataclasses.replace(
    CONFIG, steps=30, schedule="cosine", degradation="robust", teacher="esc-light", sharpen_originals=True
)


def log_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same_weights(first: Path, second: Path) -> bool:
    one, other = read_state_dict(first), read_state_dict(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_killed_run_ends_as_an_undisturbed_one(pictures: Path, tmp_path: Path) -> None:
    whole = train(EVERYTHING, pictures, tmp_path / "whole", device=CPU, quiet=True)
    config = dataclasses.asdict(EVERYTHING) | {"save_every_s": 0.1}
    arguments = [str(pictures), str(tmp_path / "killed"), json.dumps(config), *KILL_DELAYS_S]
    ended = subprocess.run(
        [sys.executable, str(TINY_RUN), *arguments], capture_output=True, text=True, check=True
    )
    assert ended.stdout.split().count("killed") == 3
    assert same_weights(whole, tmp_path / "killed" / "weights.safetensors")
    assert [path.name for path in (tmp_path / "killed").glob(".*")] == []
    logs = [log_of(tmp_path / name) for name in ("whole", "killed")]
    for entry in [*logs[0], *logs[1]]:
        del entry["elapsed_s"]
    assert logs[0] == logs[1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_run_of_constant_rate_in_three_killed_sittings_ends_as_an_undisturbed_one(
    pictures: Path, tmp_path: Path
) -> None:
    constant = dataclasses.replace(CONFIG, schedule="constant", warm_up_steps=4, optimizer="muon")
    run = functools.partial(train, pictures=pictures, device=CPU, quiet=True)
    run(dataclasses.replace(constant, steps=90), folder=tmp_path / "whole")
    for steps in (30, 60, 90):
        config = dataclasses.asdict(constant) | {"steps": steps, "save_every_s": 0}
        ended = subprocess.run(
            [sys.executable, str(TINY_RUN), str(pictures), str(tmp_path / "sat"), json.dumps(config), "0.0"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert ended.stdout == "killed\n"
    assert same_weights(*(tmp_path / name / "weights.safetensors" for name in ("whole", "sat")))
    cooling = dataclasses.replace(constant, schedule="decay", steps=9)
    cooled = [
        run(cooling, folder=tmp_path / f"{name} cooled", trunk=tmp_path / name) for name in ("whole", "sat")
    ]
    assert same_weights(*cooled)
    assert not same_weights(cooled[0], tmp_path / "whole" / "weights.safetensors")
    assert load_state(tmp_path / "whole").step == 90  # the run itself is unchanged
    state = load_state(tmp_path / "whole cooled")
    assert (state.step, state.config.first_step) == (99, 90)
    assert log_of(tmp_path / "whole cooled")[-1]["learning_rate"] == 0


def test_a_run_by_the_clock_goes_on_for_its_remaining_time(pictures: Path, tmp_path: Path) -> None:
    train(dataclasses.replace(CONFIG, steps=2), pictures, tmp_path, device=CPU, quiet=True)
    state = load_state(tmp_path)
    config = state.config = dataclasses.replace(CONFIG, minutes=0.5)
    state.elapsed_s = 29.9
    save_state(state, tmp_path)
    train(config, pictures, tmp_path, device=CPU, resume=True, quiet=True)
    ended = load_state(tmp_path)
    assert ended.elapsed_s >= 30
    assert ended.step < 100  # half a minute would be enough for a thousand


def test_a_branch_has_the_network_and_the_pictures_of_its_run(pictures: Path, tmp_path: Path) -> None:
    train(dataclasses.replace(CONFIG, steps=2), pictures, tmp_path / "run", device=CPU, quiet=True)
    branch = functools.partial(train, pictures=pictures, device=CPU, trunk=tmp_path / "run", quiet=True)
    with pytest.raises(UsageError, match="the network of its run"):
        branch(dataclasses.replace(CONFIG, scale=3), folder=tmp_path / "other")
    held_out = {"training": ["0_0.png"], "validation": ["1_0.png"]}
    (tmp_path / "run" / "pictures.json").write_text(json.dumps(held_out))
    branch(dataclasses.replace(CONFIG, steps=1), folder=tmp_path / "same")
    assert json.loads((tmp_path / "same" / "pictures.json").read_text()) == held_out


def test_a_run_goes_on_with_its_own_pictures(pictures: Path, tmp_path: Path) -> None:
    train(dataclasses.replace(CONFIG, steps=2), pictures, tmp_path, device=CPU, quiet=True)
    state = load_state(tmp_path)
    state.config = dataclasses.replace(CONFIG, steps=3)  # the run is not complete
    save_state(state, tmp_path)
    (tmp_path / "pictures.json").write_text('{"training": ["gone.png"], "validation": ["0_0.png"]}')
    with pytest.raises(InputError, match="gone"):
        train(CONFIG, pictures, tmp_path, device=CPU, resume=True, quiet=True)
    (tmp_path / "pictures.json").write_text("[]")
    with pytest.raises(InputError, match="list of pictures of the run"):
        train(CONFIG, pictures, tmp_path, device=CPU, resume=True, quiet=True)


def test_a_run_learns_and_leaves_a_log(pictures: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, steps=60, learning_rate=3e-3, validate_every=20)
    train(config, pictures, tmp_path / "run", device=CPU, quiet=True)
    log = log_of(tmp_path / "run")
    assert [entry["step"] for entry in log] == [20, 40, 60]
    assert log[-1]["psnr"] > log[0]["psnr"]
    split = json.loads((tmp_path / "run" / "pictures.json").read_text())
    assert len(split["training"]) == 8
    assert not set(split["training"]) & set(split["validation"])
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert written == json.loads(json.dumps(dataclasses.asdict(config)))


def test_the_frequency_loss_is_learned(pictures: Path, tmp_path: Path) -> None:
    for weight in (0.0, 0.05):
        config = dataclasses.replace(CONFIG, frequency_weight=weight, steps=2)
        train(config, pictures, tmp_path / str(weight), device=CPU, quiet=True)
    plain, other = (read_state_dict(tmp_path / name / "weights.safetensors") for name in ("0.0", "0.05"))
    assert any(not torch.equal(plain[name], other[name]) for name in plain)


def test_borders_between_windows_need_more_than_one(pictures: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, border_weight=0.1)
    with pytest.raises(UsageError, match="no border between attention windows"):
        train(config, pictures, tmp_path / "run", device=CPU, quiet=True)


def test_muon_is_not_recorded(pictures: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, optimizer="muon", cuda_graph=True)
    with pytest.raises(UsageError, match="cannot be recorded as a CUDA graph"):
        train(config, pictures, tmp_path / "run", device=CPU, quiet=True)


def test_degraded_runs_are_validated_twice(pictures: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, degradation="real", validate_every=6)
    train(config, pictures, tmp_path, device=CPU, quiet=True)
    first, last = log_of(tmp_path)
    assert first["psnr_degraded"] < first["psnr"]
    assert last["psnr_degraded"] < last["psnr"]


@pytest.mark.parametrize("border_weight", [0.0, 1.0])
def test_a_teacher_is_learned(pictures: Path, tmp_path: Path, border_weight: float) -> None:
    config = dataclasses.replace(
        CONFIG, teacher="nearest", teacher_share=1.0, steps=1, patch_px=20, border_weight=border_weight
    )
    train(config, pictures, tmp_path / "taught", device=CPU, quiet=True)
    # A head of zeros repeats each pixel, as this teacher does, so nothing is left to learn.
    assert log_of(tmp_path / "taught")[0]["loss"] == 0
    with pytest.raises(WeightsError, match="no scale x3"):
        unfit = dataclasses.replace(CONFIG, scale=3, teacher=str(tmp_path / "taught" / "weights.safetensors"))
        train(unfit, pictures, tmp_path / "unfit", device=CPU, quiet=True)


def test_a_teacher_s_pictures_are_learned(pictures: Path, tmp_path: Path) -> None:
    for path in pictures.glob("*.png"):
        pair = load_pair(Files(path), 2)
        assert pair is not None
        nearest = pair.low.repeat_interleave(2, 1).repeat_interleave(2, 2)
        (tmp_path / "lessons").mkdir(exist_ok=True)
        Image.fromarray(nearest.permute(1, 2, 0).numpy()).save(tmp_path / "lessons" / path.name)
    teacher = str(tmp_path / "lessons")
    config = dataclasses.replace(CONFIG, teacher=teacher, teacher_share=1.0, steps=1)
    with pytest.raises(UsageError, match="source of the teacher's pictures"):
        train(config, pictures, tmp_path / "taught", device=CPU, quiet=True)
    said = dataclasses.replace(config, teacher_source="nearest neighbours, of no licence")
    train(said, pictures, tmp_path / "taught", device=CPU, quiet=True)
    assert log_of(tmp_path / "taught")[0]["loss"] < 1e-8  # nothing is left to learn here, either
    silent = dataclasses.replace(config, teacher_share=0.0)
    train(silent, pictures, tmp_path / "silent", device=CPU, quiet=True)
    assert log_of(tmp_path / "silent")[0]["loss"] > 0.01


def test_ready_pairs_are_learned(pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "low").mkdir()
    for path in pictures.glob("*.png"):
        with Image.open(path) as image:
            image.reduce(2).save(tmp_path / "low" / path.name)
    ready = dataclasses.replace(CONFIG, low_pictures=str(tmp_path / "low"), teacher="nearest", steps=1)
    train(ready, pictures, tmp_path / "ready", device=CPU, quiet=True)
    train(dataclasses.replace(ready, low_pictures=None), pictures, tmp_path / "made", device=CPU, quiet=True)
    degraded_before = dataclasses.replace(
        ready, degradation="real"
    )  # the low-resolution pictures are already degraded
    train(degraded_before, pictures, tmp_path / "degraded", device=CPU, quiet=True)
    logs = [log_of(tmp_path / name)[0] for name in ("ready", "made", "degraded")]
    assert logs[0]["loss"] != logs[1]["loss"]
    assert logs[0]["loss"] == logs[2]["loss"]
    assert "psnr_degraded" not in logs[2]


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
    (tmp_path / "log.jsonl").write_text('of the run before\n{"step": 3}\n{"step": 4, "elap')
    train(dataclasses.replace(CONFIG, steps=4), pictures, tmp_path, device=CPU, quiet=True)
    assert [entry["step"] for entry in log_of(tmp_path)] == [4]


def test_variants_have_their_scales(pictures: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="always x4"):
        train(dataclasses.replace(CONFIG, variant="esc-real"), pictures, tmp_path, device=CPU, quiet=True)
    with pytest.raises(UsageError, match="no variant 'nonsense'"):
        train(dataclasses.replace(CONFIG, variant="nonsense"), pictures, tmp_path, device=CPU, quiet=True)


def test_the_average_lies_in_memory_as_the_weights_do() -> None:
    run = new_run(dataclasses.replace(CONFIG, variant="esc-light"), CPU)
    weights = zip(run.network.parameters(), run.average.parameters(), strict=True)
    assert all(one.stride() == average.stride() for one, average in weights)


def test_a_run_may_start_from_a_shipped_model() -> None:
    shipped = load_checkpoint("esc-light-robust", 2).network.state_dict()
    config = dataclasses.replace(CONFIG, variant="esc-light", initial="esc-light-robust")
    same, larger = (new_run(dataclasses.replace(config, scale=scale), CPU).network for scale in (2, 3))
    assert all(torch.equal(weights, shipped[key]) for key, weights in same.state_dict().items())
    assert torch.equal(larger.state_dict()["last.weight"], shipped["last.weight"])  # there is no shipped x3
    assert larger.state_dict()["to_img.weight"].shape[0] == 27


def test_bfloat16_and_initial_weights(pictures: Path, tmp_path: Path) -> None:
    first = train(dataclasses.replace(CONFIG, steps=2), pictures, tmp_path / "x2", device=CPU, quiet=True)
    config = dataclasses.replace(
        CONFIG, scale=3, steps=2, precision="bfloat16", initial=str(first), teacher="esc-light"
    )
    second = train(config, pictures, tmp_path / "x3", device=CPU, quiet=True)
    assert read_state_dict(second)["to_img.weight"].shape[0] == 27
