"""Radiance HDR on the command line. The formats of light themselves are tested with the formats."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from esc_cli.media.formats.encoding import values_of
from esc_cli.media.read import read_file, read_small

Run = Callable[..., Any]

HEADER = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 16 +X 16\n"
LAMP, WALL = bytes((128, 64, 32, 134)), bytes((128, 128, 128, 127))
"""Light of (32, 16, 8), and of 0.25."""

QUARTER = 0.5371
"""The value of sRGB that a quarter of the light of white has."""


def room(name: str) -> None:
    """Write a lamp on a wall, which is as bright in sRGB whatever the lamp is."""
    Path(name).write_bytes(HEADER + (LAMP * 8 + WALL * 8) * 16)


def test_light_is_enlarged_as_light(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    room("room.hdr")
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


def test_previews_and_reports_show_light_as_the_result_does(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    room("room.hdr")
    preview = ("room.hdr", "-m", "nearest", "-s", "2", "-d", "cpu", "--preview", "0,0,16,16")
    assert run(*preview, "-o", "sheet.png").code == 0
    sheet = values_of(read_file(Path("sheet.png")).first) / 65_535
    lamp, wall = sheet[20, 20], sheet[20, 220]  # 32 pixels are shown as 256
    assert (lamp == 1).all()
    assert np.abs(wall - QUARTER).max() < 1e-3
    small = read_small(Path("room.hdr"), 320).color[0, 0].numpy()
    assert (small[4, 4], round(small[4, 14] / 255, 2)) == (255, 0.54)


def test_frames_of_light_keep_their_brightness_whatever_the_lamp_is(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    room("1.hdr")
    Path("2.hdr").write_bytes(HEADER + (WALL * 16) * 16)
    ended = run("%d.hdr", "-o", "big_%d.png", "-m", "nearest", "-s", "2", "-d", "cpu")
    assert ended.code == 0
    note = "light is converted to sRGB, and what is brighter than white becomes white"
    assert note in ended.stderr
    for name in ("big_1.png", "big_2.png"):
        wall = values_of(read_file(Path(name)).first)[4, 28] / 65_535
        assert np.abs(wall - QUARTER).max() < 1e-3
