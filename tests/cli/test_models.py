import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.checkpoints.manifest import read_manifest

Run = Callable[..., Any]


def test_the_list_has_every_shipped_model(run: Run) -> None:
    ended = run("models")
    assert (ended.code, ended.stderr) == (0, "")
    listed = json.loads(run("models", "--json").text)
    assert (listed["version"], listed["event"]) == (2, "models")
    assert [(model["name"], model["scale"]) for model in listed["models"]] == [
        (entry.name, entry.scale) for entry in read_manifest()
    ]
    for entry in read_manifest():
        assert entry.name in ended.text


def test_info_describes_a_file(run: Run, checkpoint: Path) -> None:
    facts = json.loads(run("models", "info", checkpoint, "--json").text)
    assert (facts["version"], facts["event"], facts["scale"]) == (2, "model", 2)
    assert (facts["config"]["dim"], facts["config"]["window_size"]) == (32, 16)
    ended = run("models", "info", checkpoint)
    assert (ended.code, ended.stderr) == (0, "")
    assert checkpoint.name in ended.text
    assert f"{facts['parameters']:,}" in ended.text


def test_info_of_a_shipped_model_says_what_it_is_for(run: Run) -> None:
    entries = [entry for entry in read_manifest() if entry.name == "esc-light"]
    text = run("models", "info", "esc-light").text
    words = [
        "clean pictures",
        "MIT",
        "pictures licensed for free use",
        *(f"{e.psnr['Set5']:.2f} dB" for e in entries),
    ]
    assert all(word in text for word in words)
    assert "partial_dim" not in text
    assert "partial_dim" in run("models", "info", "esc-light", "-v").text


def test_info_of_no_model(run: Run) -> None:
    ended = run("models", "info", "unknown")
    assert ended.code == 4
    assert ended.stderr.startswith("esc-upscale: there is no model 'unknown'\n")
    assert run("models", "info", "nearest", "-s", 5).code == 4


def test_weights_are_averaged(run: Run, checkpoint: Path) -> None:
    arguments = ("models", "average", checkpoint, checkpoint, "-o", "average.safetensors")
    ended = run(*arguments)
    assert (ended.code, ended.text, ended.stderr) == (0, "", "")
    same = load_checkpoint(checkpoint).network.state_dict()
    average = load_checkpoint("average.safetensors").network.state_dict()
    assert all(torch.equal(average[key], weights) for key, weights in same.items())
    ended = run(*arguments)
    assert (ended.code, ended.stderr) == (6, "esc-upscale: 'average.safetensors' already exists\n")
    assert run(*arguments, "--overwrite").code == 0


def test_what_cannot_be_averaged(run: Run, checkpoint: Path) -> None:
    ended = run("models", "average", "esc", "esc-light", "-s", 4, "-o", "average.safetensors")
    assert ended.code == 4
    assert "'esc' (esc x4) and 'esc-light' (esc-light x4) are different networks" in ended.stderr
    assert run("models", "average", "nearest", "-o", "average.safetensors").code == 4
    assert run("models", "average", checkpoint, "-o", "average.pth").code == 2
    assert run("models", "average", checkpoint, "-o", "no/average.safetensors").code == 6
    assert not Path("average.safetensors").exists()


def test_shipped_files_are_whole(run: Run) -> None:
    ended = run("models", "verify")
    assert (ended.code, ended.text) == (0, f"{len(read_manifest())} models are intact\n")
