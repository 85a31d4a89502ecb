import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import save_file

from esc_cli.networks.architectures.esc import ESC, ESCConfig

Run = Callable[..., Any]
Save = Callable[..., Path]


@pytest.fixture
def network(tmp_path: Path) -> Path:
    config = ESCConfig(
        2, dim=16, partial_dim=8, heads=2, blocks=3, mixers=1, window_size=8, first_hidden_dim=16,
        hidden_dim=16, kernel_size=5,
    )  # fmt: skip
    path = tmp_path / "three [x2].safetensors"
    save_file(ESC(config).state_dict(), path)
    return path


def test_similarity_for_people_and_programs(run: Run, save: Save, network: Path) -> None:
    pytest.importorskip("matplotlib")
    for number in range(5):
        save(f"in/{number}.png", size=(24, 20 + number))
    facts = json.loads(run("analyze", "similarity", "in", "-m", network, "-d", "cpu", "--json").text)
    assert (facts["version"], facts["event"], facts["model"]) == (2, "similarity", network.name)
    assert [facts[key] for key in ("scale", "pictures", "height", "width")] == [2, 5, 10, 12]
    assert [pair["second"] for pair in facts["pairs"]] == ["blocks.1.attn", "blocks.2.attn"]
    for measure in ("cka", "debiased_cka", "cosine", "correlation"):
        assert facts[measure] == pytest.approx(sum(pair[measure] for pair in facts["pairs"]) / 2)
    ended = run("analyze", "similarity", "in", "-m", network, "--low", "-d", "cpu", "-o", "plot.svg")
    assert (ended.code, ended.stderr) == (0, "")
    for words in ("three [x2].safetensors x2, 5 pictures of 20x24", "blocks.0.attn", "debiased", "mean"):
        assert words in ended.text
    assert "debiased" in Path("plot.svg").read_text()


def test_attribution_for_people_and_programs(run: Run, save: Save) -> None:
    pytest.importorskip("matplotlib")
    save("in.png", size=(40, 32))
    options = ("-m", "bicubic", "-s", 2, "--window-px", 4, "-d", "cpu")
    ended = run("analyze", "attribution", "in.png", *options, "--window", "6,10", "--crop-px", 8, "--json")
    facts = json.loads(ended.text)
    assert (facts["version"], facts["event"], facts["model"]) == (2, "attribution", "bicubic")
    assert (facts["height"], facts["width"], facts["scale"]) == (8, 8, 2)
    assert facts["window"] == {"top": 6, "left": 6, "size_px": 4}
    assert 0 < facts["diffusion_index"] < 100
    assert [reach["share"] for reach in facts["reach"]] == [0.5, 0.9, 0.99]
    assert facts["reach"][0]["px"] <= facts["reach"][2]["px"] < 4
    ended = run("analyze", "attribution", "in.png", *options, "--low", "-o", "heat.png")
    assert (ended.code, ended.stderr) == (0, "")
    for words in ("bicubic x2 on 32x40", "diffusion index", "99% of the attribution within"):
        assert words in ended.text
    with Image.open("heat.png") as image:
        assert image.width > image.height


def test_a_plot_replaces_no_file_unasked_and_never_its_picture(run: Run, save: Save) -> None:
    pytest.importorskip("matplotlib")
    save("in.png", size=(24, 24))
    before = save("heat.png").read_bytes()
    arguments = ("analyze", "attribution", "in.png", "-m", "bicubic", "-s", 2, "--window-px", 4, "-d", "cpu")
    assert run(*arguments, "-o", "heat.png").code == 6
    assert Path("heat.png").read_bytes() == before
    assert run(*arguments, "-o", "heat.png", "--overwrite").code == 0
    assert Path("heat.png").read_bytes() != before
    assert run(*arguments, "-o", "in.png", "--overwrite").code == 6


def test_help(run: Run) -> None:
    ended = run("analyze", "--help")
    assert (ended.code, ended.stderr) == (0, "")
    assert "similarity" in ended.text
    assert "attribution" in ended.text


def test_errors(run: Run, save: Save) -> None:
    save("a.png")
    ended = run("analyze", "similarity", "nowhere", "-m", "bicubic")
    assert (ended.code, ended.stdout) == (2, b"")
    assert ended.stderr.splitlines()[0].endswith("the model 'bicubic' has no attention layers")
    assert run("analyze", "similarity", "nowhere", "-m", "esc-light").code == 3
    assert run("analyze", "similarity", "nowhere", "-m", "esc-light", "-o", "plot.pdf").code == 2
    assert run("analyze", "attribution", "a.png", "-m", "nearest", "--window", "middle").code == 2
    assert run("analyze", "attribution", "a.png", "-m", "nearest", "-s", 2, "--window", "9,9").code == 2
    assert run("analyze", "attribution", "a.png", "-o", "heat.pdf").code == 2
    assert run("analyze", "attribution", "missing.png", "-m", "nearest").code == 3
    assert run("analyze", "attribution", "a.png", "-m", "unknown").code == 4
    assert run("analyze", "attribution", "a.png", "-m", "nearest", "-d", "abacus").code == 5
    assert run("analyze", "attribution").code == 2
