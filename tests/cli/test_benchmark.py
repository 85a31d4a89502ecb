import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

ONE_WAY = ("--attention", "naive", "--precision", "float32", "--tiling", "none", "--runtime", "torch")
"""The settings of the reference, so that nothing else runs."""


def test_people_read_tables(run: Run) -> None:
    arguments = ("-m", "nearest", "-s", 2, "--size", "8x6", "--size", "20x10", "--runs", 2, "-d", "cpu")
    ended = run("benchmark", *arguments, *ONE_WAY)
    assert (ended.code, ended.stderr) == (0, "")
    for words in (
        "2 rounds in turns",
        "nearest x2 on 8x6: 0.0 G multiply-accumulates, 0 parameters",
        "nearest x2 on 20x10",
        "naive float32 none torch",
        "matrix product",
        "seconds per megapixel of input",
    ):
        assert words in ended.text
    assert max(map(len, ended.text.splitlines())) < 130


def test_programs_read_json_and_a_plot_is_drawn(run: Run, checkpoint: Path) -> None:
    pytest.importorskip("matplotlib")
    arguments = ("-m", checkpoint, "--size", "17x16", "--runs", 2, "-d", "cpu", "--plot", "plot.svg")
    ended = run("benchmark", *arguments, *ONE_WAY, "--json")
    assert (ended.code, ended.stderr) == (0, "")
    machine, measurement = [json.loads(line) for line in ended.text.splitlines()]
    assert (machine["version"], machine["event"], machine["rounds"]) == (2, "benchmark", 2)
    assert machine["matmul_seconds"] > 0
    assert (measurement["version"], measurement["event"]) == (2, "measurement")
    assert (measurement["model"], measurement["scale"]) == (checkpoint.name, 2)
    assert (measurement["height"], measurement["width"]) == (17, 16)
    assert measurement["settings"] == measurement["chosen"]
    assert measurement["failure"] is None
    assert measurement["speedup"] == 1
    assert len(measurement["rounds_seconds"]) == 2
    assert measurement["largest_error"] < 1e-4
    assert measurement["psnr"] > 80
    assert Path("plot.svg").is_file()
    assert run("benchmark", *arguments).code == 6  # the plot exists now


def test_what_fails_before_anything_is_measured(run: Run) -> None:
    ended = run("benchmark", "--plot", "plot.pdf")
    assert (ended.code, ended.stdout) == (2, b"")
    assert "png" in ended.stderr
    assert run("benchmark", "-m", "nearest", "--attention", "nonsense").code == 2
    assert run("benchmark", "-m", "nearest", "--size", "12").code == 2
    assert run("benchmark", "--random-weights", "nonsense").code == 2
    assert run("benchmark", "-m", "nonsense").code == 4
    assert run("benchmark", "-m", "nearest", "-d", "abacus").code == 5
    assert run("benchmark", "-m", "nearest", "--picture", "missing.png").code == 3
