import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from esc_cli.checkpoints.manifest import read_manifest

Run = Callable[..., Any]


def test_the_list_has_every_shipped_model(run: Run) -> None:
    ended = run("models")
    assert (ended.code, ended.stderr) == (0, "")
    listed = json.loads(run("models", "--json").text)
    assert (listed["version"], listed["event"]) == (1, "models")
    assert [(model["name"], model["scale"]) for model in listed["models"]] == [
        (entry.name, entry.scale) for entry in read_manifest()
    ]
    for entry in read_manifest():
        assert entry.name in ended.text


def test_info_describes_a_file(run: Run, checkpoint: Path) -> None:
    facts = json.loads(run("models", "info", checkpoint, "--json").text)
    assert (facts["version"], facts["event"], facts["scale"]) == (1, "model", 2)
    assert (facts["config"]["dim"], facts["config"]["window_size"]) == (32, 16)
    ended = run("models", "info", checkpoint)
    assert (ended.code, ended.stderr) == (0, "")
    assert checkpoint.name in ended.text
    assert f"{facts['parameters']:,}" in ended.text


def test_info_of_no_model(run: Run) -> None:
    ended = run("models", "info", "unknown")
    assert ended.code == 4
    assert ended.stderr.startswith("esc-upscale: there is no model 'unknown'\n")
    assert run("models", "info", "nearest", "-s", 5).code == 4


def test_shipped_files_are_whole(run: Run) -> None:
    ended = run("models", "verify")
    assert (ended.code, ended.text) == (0, f"{len(read_manifest())} models are whole\n")
