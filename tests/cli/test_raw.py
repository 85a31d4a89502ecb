"""Camera raw on the command line. The development itself is tested with the format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esc_cli.media.formats.raw_sample import dng
from esc_cli.media.read import read_file

pytest.importorskip("rawpy")

Run = Callable[..., Any]

LIGHT, MIDDLE_GRAY = 0.18, 0.46136
"""Light, and its value with the tone curve of sRGB."""


def test_results_are_tiffs_of_16_bits(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for name in ("a.dng", "b.nef"):
        (tmp_path / "photos" / name).write_bytes(dng(np.full((32, 48, 3), LIGHT)))
    planned = run("photos", "-m", "nearest", "-s", "2", "--dry-run", "--json")
    events = [json.loads(line) for line in planned.stdout.splitlines()]
    assert [Path(one["output"]).name for one in events if "output" in one] == ["a.tif", "b.tif"]
    assert run("photos", "-m", "nearest", "-s", "2").code == 0
    result = read_file(tmp_path / "photos_x2" / "a.tif").first
    assert (result.depth_bits, result.height, result.width) == (16, 64, 96)
    assert result.metadata.icc_profile is not None
    assert abs(result.color[0, 1, 32, 48].item() / 65_535 - MIDDLE_GRAY) < 1e-4
    refused = run("photos/a.dng", "-o", "x.dng", "-m", "nearest")
    assert refused.code == 2
    assert "only read" in refused.stderr
    replaced = run("photos/a.dng", "--in-place", "--yes", "-m", "nearest", "-s", "2")
    assert replaced.code == 3
    assert "camera raw is only read" in replaced.stderr
