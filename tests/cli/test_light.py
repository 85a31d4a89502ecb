"""Radiance HDR on the command line. The formats of light themselves are tested with the formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esc_cli.media.formats.encoding import values_of
from esc_cli.media.read import read_file

Run = Callable[..., Any]

HEADER = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 16 +X 16\n"
LAMP, WALL = bytes((128, 64, 32, 134)), bytes((128, 128, 128, 127))
"""Light of (32, 16, 8), and of 0.25."""


def test_light_is_enlarged_as_light(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("room.hdr").write_bytes(HEADER + (LAMP * 8 + WALL * 8) * 16)
    assert run("room.hdr", "-m", "nearest", "-s", "2").code == 0
    values = values_of(read_file(Path("room_x2.hdr")).first)
    assert values.shape == (32, 32, 3)
    assert np.allclose(values[4, 4], (32, 16, 8))
    assert np.allclose(values[4, 28], 0.25)
    ended = run("room.hdr", "-m", "nearest", "-s", "2", "-f", "png")
    assert ended.code == 0
    assert (
        "what is brighter than white becomes white, and NaN becomes transparent: PNG cannot hold"
        in ended.stderr
    )
    shown = values_of(read_file(Path("room_x2.png")).first)
    assert shown.dtype == np.uint16
    assert (shown[4, 4] == 65_535).all()
    assert np.abs(shown[4, 28] / 65_535 - 0.5371).max() < 1e-4  # sRGB's value of a quarter
