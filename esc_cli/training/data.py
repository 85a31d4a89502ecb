"""Training pictures in memory, and the patches of each step."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.errors import InputError
from esc_cli.evaluation.degradation import crop_to_multiple, downscale
from esc_cli.evaluation.filters import sharpen
from esc_cli.evaluation.wild_degradation import Degradation, degrade
from esc_cli.media.read import read_picture

CONTEXT_PX = 8
"""Low-resolution pixels around a degraded patch, whose borders a blur does not know."""

_JPEG_BLOCK_PX = 8


@dataclass(frozen=True)
class Pair:
    """One picture twice: ``low`` (3, H, W) and ``high`` (3, sH, sW), uint8."""

    low: Tensor
    high: Tensor

    @property
    def scale(self) -> int:
        """Pixels of ``high`` per pixel of ``low``."""
        return self.high.shape[-1] // self.low.shape[-1]

    def to(self, device: torch.device) -> "Pair":
        """Move both to a device."""
        return Pair(self.low.to(device), self.high.to(device))


def load_pair(path: Path, scale: int, *, sharpened: bool = False) -> Pair | None:
    """Read a picture and make its low-resolution counterpart from the whole of it, rounded to 8 bits.

    Args:
        path: Of the picture.
        scale: Pixels out per pixel in.
        sharpened: Sharpen the picture first.

    Returns:
        The pair; None if the picture is smaller than the scale.

    Raises:
        InputError: The file cannot be read.
    """
    high = crop_to_multiple(read_picture(path).color, scale)  # (1, 3, H, W)
    if 0 in high.shape:
        return None
    high = from_unit(sharpen(to_unit(high)), high.dtype) if sharpened else high
    return Pair(downscale(high, scale)[0], high[0])


def load_pairs(
    paths: Iterable[Path], scale: int, smallest_px: int, device: torch.device, *, sharpened: bool = False
) -> list[Pair]:
    """Read all pictures of at least ``smallest_px`` low pixels a side onto the device.

    Raises:
        InputError: A file cannot be read, or none is that large.
    """
    pairs = (load_pair(path, scale, sharpened=sharpened) for path in paths)
    kept = [pair.to(device) for pair in pairs if pair is not None and min(pair.low.shape[-2:]) >= smallest_px]
    if not kept:
        raise InputError(f"no picture is large enough for patches of {smallest_px * scale} pixels")
    return kept


def room_px(patch_px: int, recipe: Degradation | None) -> int:
    """Give the side of what is cut out for a patch, low pixels: degraded ones need their surroundings."""
    return patch_px if recipe is None else patch_px + 2 * CONTEXT_PX + _JPEG_BLOCK_PX


def batch_of_step(
    pairs: list[Pair],
    step: int,
    samples: Iterable[int],
    *,
    seed: int,
    patch_px: int,
    recipe: Degradation | None = None,
) -> tuple[Tensor, Tensor]:
    """Cut patches of one step, each a function of the seed, the step and its number alone.

    So a run can be resumed, and shared between processes.

    Args:
        pairs: What is trained on.
        step: Counted from 0.
        samples: Numbers of the samples wanted, of those of the step.
        seed: Of the run.
        patch_px: Side of the low patches.
        recipe: Make the low patches anew in this way.

    Returns:
        low (N, 3, p, p) and high (N, 3, sp, sp), float32 in [0, 1], each pair flipped and turned alike.
    """
    patches = [
        _random_patch(pairs, patch_px, recipe, np.random.default_rng([seed, step, sample]))
        for sample in samples
    ]
    low, high = zip(*patches, strict=True)
    return to_unit(torch.stack(low)), to_unit(torch.stack(high))


def centre_crop(pair: Pair, largest_px: int) -> Pair:
    """Cut the middle of a pair, at most ``largest_px`` low pixels a side."""
    height, width = (min(side, largest_px) for side in pair.low.shape[-2:])
    top, left = (pair.low.shape[-2] - height) // 2, (pair.low.shape[-1] - width) // 2
    return _crop(pair, top, left, height, width)


def degraded(pair: Pair, recipe: Degradation, random: np.random.Generator) -> Pair:
    """Make the low picture anew from the high one."""
    low = degrade(to_unit(pair.high[None]), pair.scale, recipe, random)
    return Pair(from_unit(low, torch.uint8)[0], pair.high)


def _random_patch(
    pairs: list[Pair], patch_px: int, recipe: Degradation | None, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    pair = _random_crop(pairs[random.integers(len(pairs))], room_px(patch_px, recipe), random)
    patch = pair if recipe is None else _inside(degraded(pair, recipe, random), patch_px, random)
    flip, turns = bool(random.integers(2)), int(random.integers(4))
    return _turn(patch.low, flip, turns), _turn(patch.high, flip, turns)


def _random_crop(pair: Pair, side_px: int, random: np.random.Generator) -> Pair:
    height, width = pair.low.shape[-2:]
    top, left = random.integers(height - side_px + 1), random.integers(width - side_px + 1)
    return _crop(pair, int(top), int(left), side_px, side_px)


def _inside(pair: Pair, patch_px: int, random: np.random.Generator) -> Pair:
    """Cut the patch out of its surroundings, anywhere in the grid of JPEG's blocks, which begins there."""
    top, left = CONTEXT_PX + random.integers(_JPEG_BLOCK_PX, size=2)
    return _crop(pair, int(top), int(left), patch_px, patch_px)


def _crop(pair: Pair, top: int, left: int, height: int, width: int) -> Pair:
    low = pair.low[:, top : top + height, left : left + width]
    rows = slice(pair.scale * top, pair.scale * (top + height))
    columns = slice(pair.scale * left, pair.scale * (left + width))
    return Pair(low, pair.high[:, rows, columns])


def _turn(patch: Tensor, flip: bool, turns: int) -> Tensor:
    turned = patch.rot90(turns, (-2, -1))
    return turned.flip(-1) if flip else turned
