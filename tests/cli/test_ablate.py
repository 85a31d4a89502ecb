import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esc_cli.training import ablation

Run = Callable[..., Any]
Save = Callable[..., Path]

SMALL = ("--steps", 1, "--patch-px", 8, "--validation-pictures", 1, "--quiet", "-d", "cpu")


def test_errors(run: Run) -> None:
    ended = run("ablate", "in", "-o", "out", "-n", "esc-quick")
    assert ended.code == 2
    assert "there is no network 'esc-quick'" in ended.stderr
    assert run("ablate", "nowhere", "-o", "out").code == 3
    assert run("ablate", "in", "-o", "out", "--plot", "curves.pdf").code == 2


def test_the_table_and_json(run: Run, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "LATENCY_PX", 32)
    monkeypatch.setattr(ablation, "ROUNDS", 1)
    save("in/a.png", (40, 36))
    save("in/b.png", (36, 40))
    ended = run("ablate", "in", "-o", "out", "-n", "kernel-9", *SMALL)
    assert ended.code == 0, ended.stderr
    assert b"kernel-9" in ended.stdout
    assert b"38.33" in ended.stdout  # the paper's PSNR
    ended = run("ablate", "in", "-o", "out", "-n", "kernel-9", *SMALL, "--json")
    answer = json.loads(ended.stdout)
    assert (answer["event"], answer["networks"][0]["name"]) == ("ablation", "kernel-9")
    assert len(answer["networks"][0]["curve"]) == 1
