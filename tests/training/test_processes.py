"""Test that processes that share a batch train the same weights as one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import train
from esc_cli.training.processes import Processes, own_device

TINY_RUN = Path(__file__).with_name("tiny_run.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
CONFIG = TrainingConfig(
    variant="tiny",
    steps=12,
    batch_size=5,  # three patches for one process, two for the other
    patch_px=8,
    learning_rate=1e-3,
    schedule="cosine",
    validation_pictures=2,
    validate_every=6,
)


def farthest(first: Path, second: Path) -> float:
    one, other = (read_state_dict(folder / "weights.safetensors") for folder in (first, second))
    return max(float((one[key] - other[key]).abs().max()) for key in one)


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun's rendezvous needs a POSIX system")
def test_two_processes_train_what_one_does(pictures: Path, tmp_path: Path) -> None:
    train(CONFIG, pictures, tmp_path / "one", device=torch.device("cpu"), quiet=True)
    subprocess.run(
        [
            sys.executable,
            *TORCHRUN,
            str(TINY_RUN),
            str(pictures),
            str(tmp_path / "two"),
            json.dumps(vars(CONFIG)),
        ],
        check=True,
        capture_output=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert farthest(tmp_path / "one", tmp_path / "two") < 1e-4  # a step moves a weight by up to 1e-3
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[0] == pytest.approx(losses[1], abs=2e-6)  # the loss is that of the whole batch


@given(st.integers(1, 9), st.integers(0, 40))
def test_shares_are_the_batch(count: int, batch_size: int) -> None:
    shares = [Processes(rank, count).share(batch_size) for rank in range(count)]
    assert sorted(sample for share in shares for sample in share) == list(range(batch_size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_each_process_has_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == "cuda:3"
    assert own_device("cuda:1") == "cuda:1"
    assert own_device("cpu") == "cpu"
