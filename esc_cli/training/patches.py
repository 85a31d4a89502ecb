"""The patches of each step, which depend only on the seed and the step."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.evaluation.degradation.wild import Degradation, degrade
from esc_cli.training.pairs import Pair, Pairs, crop
from esc_cli.training.stack import Place, turn

CONTEXT_PX = 8
"""Margin around a degraded patch, in low-resolution pixels: a blur is not exact at the border."""

_JPEG_BLOCK_PX = 8


@dataclass(frozen=True)
class Batch:
    """The patches of a step, float32 in [0, 1].

    Attributes:
        low: Low-resolution patches, (N, 3, p, p).
        high: High-resolution patches, (N, 3, sp, sp), flipped and rotated like ``low``.
        lesson: The teacher's results for ``low``, with the shape of ``high``; None if there are none.
    """

    low: Tensor
    high: Tensor
    lesson: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors ``low``, ``high`` and, if there is one, ``lesson``."""
        return tuple(one for one in (self.low, self.high, self.lesson) if one is not None)


def room_px(patch_px: int, recipe: Degradation | None) -> int:
    """Return the side of the area to cut for a patch, low-resolution pixels; degradation needs a margin."""
    return patch_px if recipe is None else patch_px + 2 * CONTEXT_PX + _JPEG_BLOCK_PX


def batch_of_step(
    pairs: Pairs,
    step: int,
    samples: Iterable[int],
    *,
    seed: int,
    patch_px: int,
    recipe: Degradation | None = None,
) -> Batch:
    """Cut patches of one step. Each depends only on the seed, the step and the number of the sample.

    This makes it possible to resume a run, and to share a batch between processes.

    Args:
        pairs: Pictures to train on.
        step: Number of the step, from 0.
        samples: Numbers of the samples to make, among those of the step.
        seed: Seed of the run.
        patch_px: Side of the low-resolution patches.
        recipe: Degradation that makes the low-resolution patches; None if those of ``pairs`` are used.
    """
    randoms = [np.random.default_rng([seed, step, sample]) for sample in samples]
    if recipe is None:
        patches = pairs.cut([_random_place(pairs.views, patch_px, one) for one in randoms], patch_px)
    else:
        patches = _stacked([_degraded_patch(pairs.views, patch_px, recipe, one) for one in randoms])
    units = patches.each(to_unit)
    return Batch(units.low, units.high, units.lesson)


def degraded(pair: Pair, recipe: Degradation, random: np.random.Generator) -> Pair:
    """Return the pair with a low-resolution picture that is made from the high-resolution one."""
    low = degrade(to_unit(pair.high[None]), pair.scale, recipe, random)
    return dataclasses.replace(pair, low=from_unit(low, torch.uint8)[0])


def _stacked(patches: Sequence[Pair]) -> Pair:
    lessons = [patch.lesson for patch in patches if patch.lesson is not None]
    return Pair(
        torch.stack([patch.low for patch in patches]),
        torch.stack([patch.high for patch in patches]),
        torch.stack(lessons) if lessons else None,
    )


def _random_place(pairs: Sequence[Pair], patch_px: int, random: np.random.Generator) -> Place:
    picture, top, left = _random_corner(pairs, patch_px, random)
    return Place(picture, top, left, *_random_turn(random))


def _degraded_patch(
    pairs: Sequence[Pair], patch_px: int, recipe: Degradation, random: np.random.Generator
) -> Pair:
    side_px = room_px(patch_px, recipe)
    picture, top, left = _random_corner(pairs, side_px, random)
    room = crop(pairs[picture], top, left, side_px, side_px)
    patch = _inside(degraded(room, recipe, random), patch_px, random)
    flip, turns = _random_turn(random)
    return patch.each(lambda picture: turn(picture, flip, turns))


def _random_corner(pairs: Sequence[Pair], side_px: int, random: np.random.Generator) -> tuple[int, int, int]:
    """Choose a picture, and the top and left of a square in it, in low-resolution pixels."""
    picture = int(random.integers(len(pairs)))
    height, width = pairs[picture].low.shape[-2:]
    return picture, int(random.integers(height - side_px + 1)), int(random.integers(width - side_px + 1))


def _random_turn(random: np.random.Generator) -> tuple[bool, int]:
    """Choose whether to flip, and how many times to rotate by 90 degrees."""
    return bool(random.integers(2)), int(random.integers(4))


def _inside(pair: Pair, patch_px: int, random: np.random.Generator) -> Pair:
    """Cut the patch out of its surroundings, at a random offset to the grid of JPEG blocks."""
    top, left = CONTEXT_PX + random.integers(_JPEG_BLOCK_PX, size=2)
    return crop(pair, int(top), int(left), patch_px, patch_px)
