"""The picture of a benchmark: a user's file, or one that is drawn."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.engine.pixels import to_unit
from esc_cli.media.read import read_picture
from esc_cli.networks.padding import reflect_pad

SIDE_PX = 256
"""Side of the drawn picture."""

_ENLARGED = 4
"""How many times as large the picture is drawn."""

_SHAPES = 60
"""Number of ellipses and rectangles."""


def sample_picture(path: Path | None = None) -> Tensor:
    """Read a picture, or draw one with the features of photos: shading, texture, edges and fine stripes.

    On noise, the error of half precision would be smaller or larger than it is on pictures.

    Returns:
        (1, 3, H, W) RGB, float32 in [0, 1]. A drawn picture is the same each time: 256x256, with 8 bits.

    Raises:
        InputError: The file cannot be read.
    """
    return _drawn() if path is None else to_unit(read_picture(path).color)


def cut_to(picture: Tensor, height: int, width: int) -> Tensor:
    """Crop a picture (N, C, H, W) to a size at its top left corner. If it is too small, it is mirrored."""
    cut = picture[..., :height, :width]
    return reflect_pad(cut, right=width - cut.shape[-1], bottom=height - cut.shape[-2])


def _drawn() -> Tensor:
    """Draw at four times the size and shrink, so that no edge is sharper than a lens would make it."""
    random = torch.Generator().manual_seed(0)
    side = SIDE_PX * _ENLARGED
    y, x = torch.meshgrid(torch.linspace(0, 1, side), torch.linspace(0, 1, side), indexing="ij")
    canvas = torch.stack((0.3 + 0.5 * x, 0.35 + 0.4 * y, 0.8 - 0.4 * x * y))  # (3, side, side)
    for _ in range(_SHAPES):
        canvas = _with_shape(canvas, y, x, random)
    shrunk = F.avg_pool2d(canvas, _ENLARGED) + 0.04 * _texture(random)
    return shrunk.clamp(0, 1).mul(255).round().div(255)[None]


def _with_shape(canvas: Tensor, y: Tensor, x: Tensor, random: torch.Generator) -> Tensor:
    """Draw an ellipse or a rectangle over the picture, in one color or with stripes."""
    numbers = torch.rand(8, generator=random)
    down, across = (y - numbers[0]).abs(), (x - numbers[1]).abs()
    radius = 0.02 + 0.16 * numbers[2] ** 2
    extent = torch.maximum(down, across) if numbers[3] < 0.5 else torch.hypot(down, 1.5 * across)
    frequency = 2 * torch.pi * SIDE_PX / (2.5 + 8 * numbers[2])  # stripes of 2.5 to 10 pixels
    striped = ((x + numbers[3] * y) * frequency).sin().sign() * 0.5 if numbers[4] < 0.3 else 0.0
    color = numbers[5:, None, None].expand_as(canvas) + striped
    return torch.where(extent < radius, color, canvas)


def _texture(random: torch.Generator) -> Tensor:
    """Return noise (1, side, side) with standard deviation 1 and the spectrum of photos.

    Source: Field 1987, "Relations between the statistics of natural images and the response properties of
    cortical cells": amplitudes in photos are about proportional to 1 / frequency.
    """
    down, across = torch.fft.fftfreq(SIDE_PX)[:, None], torch.fft.rfftfreq(SIDE_PX)[None]
    frequency = torch.hypot(down, across).clamp(min=1 / SIDE_PX)
    noise = torch.fft.rfft2(torch.randn(1, SIDE_PX, SIDE_PX, generator=random))
    texture: Tensor = torch.fft.irfft2(noise / frequency)
    return texture / texture.std()
