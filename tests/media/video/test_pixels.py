from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from av.video.frame import VideoFrame
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.media.video.clip import Clip, ColorTags
from esc_cli.media.video.pixels import encoded_size, matrix_of, to_frame, to_rgb, written_tags

CLIP = Clip(
    container="mp4", codec="h264", height=16, width=16, pixel_format="yuv444p", depth_bits=8, alpha=False,
    gray=False, interlaced=False, time_base=Fraction(1, 25), frame_rate=None, frames=None, duration_s=None,
    color=ColorTags(), sample_aspect_ratio=None, rotation_deg=0, display_matrix=(), start_pts=0,
    origin_s=Fraction(0), hdr=None, stream_index=0,
)  # fmt: skip
LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Luma weights of red and blue for each matrix. Source: ITU-T H.273, table 4."""


def coded(rgb: np.ndarray[Any, Any], matrix: int, full: bool) -> np.ndarray[Any, Any]:
    """Convert RGB in [0, 1] to 8-bit Y, Cb, Cr, both (3, H, W), by the formulas of H.273, 8.3."""
    red, blue = LUMA[matrix]
    y = red * rgb[0] + (1 - red - blue) * rgb[1] + blue * rgb[2]
    cb, cr = (rgb[2] - y) / (2 * (1 - blue)), (rgb[0] - y) / (2 * (1 - red))
    if full:
        return np.stack((255 * y, 255 * cb + 128, 255 * cr + 128))
    return np.stack((219 * y + 16, 224 * cb + 128, 224 * cr + 128))


def planes(frame: Any) -> np.ndarray[Any, Any]:
    rows = [np.frombuffer(p, np.uint8).reshape(p.height, -1)[:, : p.width] for p in frame.planes]
    return np.stack(rows).astype(float)


@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize("full", [False, True])
def test_numbers_are_those_of_the_standard(matrix: int, full: bool) -> None:
    tags = ColorTags(full, matrix)
    color = torch.randint(0, 256, (1, 3, 16, 16), dtype=torch.uint8)
    frame = to_frame(color, None, "yuv444p", tags)
    expected = coded(color[0].numpy() / 255, matrix, full)
    assert np.abs(planes(frame) - expected.clip(0, 255)).max() < 1.05
    back, _ = to_rgb(frame, replace(CLIP, color=tags))
    assert (back.int() - color.int()).abs().max() <= 2


@pytest.mark.parametrize(
    ("pixel_format", "steps"),
    [("gray16le", 4), ("gray12le", 28), ("gray10le", 100), ("yuv444p16le", 6), ("yuv444p12le", 60)],
)
def test_deep_values_come_back(pixel_format: str, steps: int) -> None:
    """The largest difference of 16-bit values is less than two steps of gray, and four of a color."""
    gray = pixel_format.startswith("gray")
    color = torch.randint(0, 65536, (1, 3, 16, 16)).to(torch.uint16)
    color = color[:, :1].repeat(1, 3, 1, 1) if gray else color
    tags = ColorTags(True, 1)
    frame = to_frame(color, None, pixel_format, tags)
    back, _ = to_rgb(frame, replace(CLIP, color=tags, depth_bits=16, gray=gray))
    assert (back.int() - color.int()).abs().max() <= steps


@pytest.mark.parametrize(
    ("pixel_format", "down", "across"),
    [("yuv420p16le", 0.5, 0), ("yuv422p16le", 0, 0), ("yuv444p16le", 0, 0), ("yuv440p12le", 0.5, 0)],
)
def test_chroma_lies_at_the_left_and_between_two_rows(pixel_format: str, down: float, across: float) -> None:
    """A ramp of chroma tells where its samples lie. Source: ITU-T H.273, figure 1 (location type 0)."""
    for axis, expected in ((0, down), (1, across)):
        ramp = (torch.arange(64) * 600 + 8000).reshape((-1, 1) if axis == 0 else (1, -1)).expand(64, 64)
        color = torch.stack((ramp, torch.full((64, 64), 30000), torch.full((64, 64), 30000)))
        coarse, fine = (
            middle(to_frame(color[None].to(torch.uint16), None, name, ColorTags(True, 1)), axis)
            for name in (pixel_format, f"yuv444p{pixel_format[7:]}")
        )
        steps = len(fine) // len(coarse)
        place = (coarse[8] - fine[0]) / ((fine[48] - fine[0]) / 48) - 8 * steps
        assert place == pytest.approx(expected, abs=0.1)


def middle(frame: VideoFrame, axis: int) -> np.ndarray[Any, Any]:
    """Return the middle row or column of the last plane."""
    plane = frame.planes[2]
    values = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)[:, : plane.width].astype(float)
    row: np.ndarray[Any, Any] = values[5] if axis == 1 else values[:, 5]
    return row


def test_what_players_take_where_nothing_is_said() -> None:
    assert matrix_of(ColorTags(), 719) == 6
    assert matrix_of(ColorTags(), 720) == 1
    assert matrix_of(ColorTags(matrix=9), 100) == 9


def test_the_matrix_is_stated_where_players_would_change_their_mind() -> None:
    unstated = ColorTags()
    assert written_tags(unstated, 360, 700, "yuv420p", "libx264") == unstated
    assert written_tags(unstated, 360, 720, "yuv420p", "libx264").matrix == 6
    assert written_tags(unstated, 720, 1440, "yuv420p", "libx264") == unstated
    assert written_tags(ColorTags(matrix=5), 360, 720, "yuv420p", "libx264").matrix == 5
    assert written_tags(ColorTags(True, 0), 360, 720, "yuv444p", "libx264").matrix == 6


@pytest.mark.parametrize(
    ("encoder", "full"), [("libx264", True), ("ffv1", True), ("prores_ks", False), ("mpeg4", False)]
)
def test_the_range_is_limited_where_a_stream_cannot_state_it(encoder: str, full: bool) -> None:
    assert written_tags(ColorTags(full_range=True), 360, 720, "yuv422p10le", encoder).full_range == full


@pytest.mark.parametrize("deep", [False, True])
def test_alpha_is_kept(deep: bool) -> None:
    largest, dtype = (65535, torch.uint16) if deep else (255, torch.uint8)
    color = torch.full((1, 3, 16, 16), largest // 2).to(dtype)
    alpha = (torch.arange(256).reshape(1, 1, 16, 16) * (257 if deep else 1)).to(dtype)
    clip = replace(CLIP, alpha=True, depth_bits=16 if deep else 8)
    frame = to_frame(color, alpha, "yuva444p16le" if deep else "yuva444p", ColorTags(matrix=1))
    _, back = to_rgb(frame, clip)
    assert back is not None
    assert back.dtype == dtype
    assert (back.int() - alpha.int()).abs().max() <= 1


FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv410p", "gray"]


@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from(FORMATS))
def test_sizes(height: int, width: int, pixel_format: str) -> None:
    high, wide = encoded_size(height, width, pixel_format)
    down, across = {"yuv420p": (2, 2), "yuv422p": (1, 2), "yuv410p": (4, 4)}.get(pixel_format, (1, 1))
    assert height <= high < height + down
    assert width <= wide < width + across
    assert high % down == wide % across == 0
    frame = to_frame(torch.zeros(1, 3, height, width, dtype=torch.uint8), None, pixel_format, ColorTags())
    assert (frame.height, frame.width) == (high, wide)


def test_the_last_row_and_column_are_repeated() -> None:
    color = torch.zeros(1, 3, 3, 3, dtype=torch.uint8)
    color[..., 2, :] = color[..., :, 2] = 255
    frame: VideoFrame = to_frame(color, None, "yuv420p", ColorTags(True))
    luma = np.frombuffer(frame.planes[0], np.uint8).reshape(4, -1)[:, :4]
    assert (luma[2:] == 255).all()
    assert (luma[:, 2:] == 255).all()
    assert (luma[:2, :2] == 0).all()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("matrix", LUMA)
def test_subsampled_chroma_survives_enlarging(matrix: int, full: bool) -> None:
    """Enlarging saturated bars by repetition changes each plane by less than 1 of 255 on average."""
    tags, clip = ColorTags(full, matrix), replace(CLIP, color=ColorTags(full, matrix))
    bars = torch.tensor([[c & 1, c >> 1 & 1, c >> 2] for c in range(8)], dtype=torch.uint8).T * 191
    low = to_frame(
        bars[None, :, None].repeat_interleave(64, 2).repeat_interleave(80, 3), None, "yuv420p", tags
    )
    color, _ = to_rgb(low, clip)
    high = to_frame(color.repeat_interleave(2, -1).repeat_interleave(2, -2), None, "yuv420p", tags)
    for a, b in zip(low.planes, high.planes, strict=True):
        small = np.frombuffer(a, np.uint8).reshape(a.height, -1)[:, : a.width].astype(float)
        large = np.frombuffer(b, np.uint8).reshape(b.height, -1)[:, : b.width].astype(float)
        assert np.abs(large - small.repeat(2, 0).repeat(2, 1)).mean() < 1
