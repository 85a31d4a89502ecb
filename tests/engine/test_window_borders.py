"""Attention ends at the borders of its windows. No shipped model may make these borders visible."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli import Upscaler
from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.checkpoints.manifest import ModelEntry, read_manifest
from esc_cli.networks.architectures.registry import VARIANTS

LEAST_SEEN = 0.5 / 255
"""Smallest visible step: half a level of 8 bits.

Rounding removes smaller steps, except where two levels meet anyway.
"""


WITH_WINDOWS = [one for one in read_manifest() if VARIANTS[one.network](one.scale).window_size > 1]


@pytest.mark.parametrize("entry", WITH_WINDOWS, ids=lambda entry: f"{entry.name}-x{entry.scale}")
def test_no_shipped_model_shows_its_windows(entry: ModelEntry) -> None:
    checkpoint = load_checkpoint(entry.name, entry.scale)
    window_px = checkpoint.config.window_size
    high = Upscaler(checkpoint, device="cpu", precision="float32")(smooth(2 * window_px, 4 * window_px))
    low = F.avg_pool2d(high, entry.scale)
    assert max(step_at_borders(low, window_px), step_at_borders(low.mT, window_px)) < LEAST_SEEN


def smooth(height: int, width: int) -> Tensor:
    """Return a picture without edges, like a sky, (1, 3, H, W)."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 2, width)
    red, green, blue = torch.sin(x + y), torch.cos(x - 2 * y), torch.sin(2 * x) * torch.cos(y)
    return torch.stack([0.5 + 0.25 * red, 0.5 + 0.2 * green, 0.5 + 0.15 * blue])[None]


def step_at_borders(picture: Tensor, window_px: int) -> float:
    """Return the root mean square of the steps between adjacent windows.

    The picture's own slope at the border is subtracted from each step.
    """
    slopes = picture.unflatten(-2, (-1, window_px)).mean(-2).diff()  # (1, 3, windows, W - 1)
    at = torch.arange(window_px - 1, slopes.shape[-1] - 1, window_px)
    steps = slopes[..., at] - (slopes[..., at - 1] + slopes[..., at + 1]) / 2
    return math.sqrt(steps.square().mean().item())
