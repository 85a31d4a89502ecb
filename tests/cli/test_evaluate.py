import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Run = Callable[..., Any]
Save = Callable[..., Path]


def test_scores_of_a_folder(run: Run, save: Save) -> None:
    save("in/[a].png", size=(40, 32)), save("in/sub/b.png", size=(40, 32))
    facts = json.loads(run("evaluate", "in", "-m", "bicubic", "-s", 2, "--json").text)
    assert (facts["version"], facts["event"], facts["model"], facts["scale"]) == (
        2,
        "evaluation",
        "bicubic",
        2,
    )
    scores = [picture["psnr"] for picture in facts["pictures"]]
    assert facts["psnr"] == pytest.approx(sum(scores) / 2)
    ended = run("evaluate", "in", "-m", "bicubic", "-s", 2)
    assert (ended.code, ended.stderr) == (0, "")
    assert "[a].png" in ended.text
    assert f"{facts['psnr']:.2f}" in ended.text


def test_the_self_ensemble(run: Run, save: Save) -> None:
    save("in/a.png", size=(40, 32))
    arguments = ("evaluate", "in", "-m", "esc-light", "-s", 2, "-d", "cpu")
    plain, ensemble = (json.loads(run(*arguments, *tta, "--json").text) for tta in ((), ("--tta",)))
    assert (plain["tta"], ensemble["tta"]) == (False, True)
    assert plain["psnr"] != ensemble["psnr"]
    assert plain["psnr"] == pytest.approx(ensemble["psnr"], abs=1)
    assert "esc-light x2, self-ensemble" in run(*arguments, "--tta").text


def test_degraded_pictures(run: Run, save: Save) -> None:
    save("in/a.png", size=(40, 32))
    arguments = ("evaluate", "in", "-m", "bicubic", "-s", 2)
    plain, degraded = (
        json.loads(run(*arguments, "--degradation", one, "--json").text) for one in ("bicubic", "robust")
    )
    assert (plain["degradation"], degraded["degradation"]) == ("bicubic", "robust")
    assert degraded["psnr"] < plain["psnr"]
    assert "bicubic x2, robust degradation" in run(*arguments, "--degradation", "robust").text
    assert run(*arguments, "--degradation", "moth").code == 2


def test_what_is_restored_exactly_is_still_json(run: Run, save: Save) -> None:
    path = save("in/flat.png", size=(40, 40))
    Image.new("RGB", (40, 40), (128, 128, 128)).save(path)
    ended = run("evaluate", "in", "-m", "nearest", "-s", 2, "--json")
    assert ended.code == 0
    assert json.loads(ended.text, parse_constant=pytest.fail)["psnr"] is None


def test_errors(run: Run, save: Save) -> None:
    save("in/a.png", size=(40, 32))
    assert run("evaluate", "nowhere", "-m", "nearest").code == 3
    assert run("evaluate", "in", "-m", "unknown").code == 4
    assert run("evaluate", "in", "-m", "nearest", "-d", "abacus").code == 5
    assert run("evaluate").code == 2
