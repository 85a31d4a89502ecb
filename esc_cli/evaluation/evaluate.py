"""The papers' protocol: shrink a picture, enlarge it again, compare."""

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import InputError
from esc_cli.evaluation.degradation.bicubic import crop_to_multiple, downscale
from esc_cli.evaluation.degradation.wild import WildDegradation, degrade, recipe_of
from esc_cli.evaluation.metrics import crop_border, luma, psnr, ssim
from esc_cli.media.probe import find_pictures
from esc_cli.media.read import read_picture

DegradationName = Literal["bicubic"] | WildDegradation

GRAY_AT_SOURCE = frozenset({"bridge"})
"""Pictures of the benchmarks whose original file has one channel, for copies in formats without gray.

The published figures score those on their own values, 0 to 255. Set14's ``bridge`` is the only one (its
``man`` is RGB with three equal channels, and scored as colour); luma would add 0.09 dB to the set's mean.
"""


@dataclass(frozen=True)
class PictureScore:
    """How well one picture was restored.

    Attributes:
        name: Its path below the folder.
        psnr: dB; infinite if it was restored exactly.
        ssim: At most 1.
    """

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of a folder.

    Attributes:
        model: Its name, or the file's.
        scale: Pixels out per pixel in.
        pictures: Each picture's scores.
        tta: Whether the self-ensemble was scored.
        degradation: How the low-resolution pictures were made.
    """

    model: str
    scale: int
    pictures: tuple[PictureScore, ...]
    tta: bool = False
    degradation: DegradationName = "bicubic"

    @property
    def psnr(self) -> float:
        """Mean over the pictures, dB."""
        return fmean(score.psnr for score in self.pictures)

    @property
    def ssim(self) -> float:
        """Mean over the pictures."""
        return fmean(score.ssim for score in self.pictures)


def evaluate(
    folder: Path,
    model: str | Path,
    scale: int | None = None,
    *,
    device: str = "auto",
    tta: bool = False,
    degradation: DegradationName = "bicubic",
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model on a folder of high-resolution pictures.

    Pictures are cropped to a multiple of the scale, shrunk by antialiased bicubic, rounded to 8 bits,
    enlarged in float32 and rounded to 8 bits again; scores are on luma, without a border of ``scale`` pixels.
    Instead of shrunk alone they can be degraded as models for bad pictures are trained on; what happens to a
    picture depends on its name only.

    Args:
        folder: Searched with its sub-folders.
        model: As for ``load_checkpoint``.
        scale: Pixels out per pixel in; by default the largest of the model.
        device: As for ``Upscaler``.
        tta: As for ``Upscaler``.
        degradation: ``bicubic`` is the protocol; for the others see ``recipe_of``.
        progress: Is told how many pictures are done, of how many.

    Raises:
        InputError: There are no pictures, or one cannot be read or is smaller than the scale.
        WeightsError: There is no such model or it has no such scale.
        DeviceError: There is no such device, or not enough memory.

    Source: ESC (arXiv 2503.06671), section 4, as BasicSR computes it.
    """
    paths = find_pictures(folder)
    checkpoint = load_checkpoint(model, scale)
    scale = scale or checkpoint.config.scale
    upscaler = Upscaler(checkpoint, scale=scale, device=device, precision="float32", tta=tta)
    scores = []
    for path in paths:
        scores.append(_score(path.relative_to(folder).as_posix(), path, upscaler, scale, degradation))
        if progress is not None:
            progress(len(scores), len(paths))
    return Evaluation(checkpoint.name, scale, tuple(scores), tta, degradation)


def _score(
    name: str, path: Path, upscaler: Upscaler, scale: int, degradation: DegradationName
) -> PictureScore:
    picture = read_picture(path)
    original = crop_to_multiple(picture.color, scale)
    if 0 in original.shape:
        raise InputError(f"{str(path)!r} is smaller than {scale}x{scale} pixels")
    restored = upscaler(low_resolution(original, scale, degradation, name))
    gray = picture.gray or (path.stem in GRAY_AT_SOURCE and _has_no_color(original))
    planes = [crop_border(luma(each, gray=gray), scale) for each in (original, restored)]
    return PictureScore(name, psnr(planes[0], planes[1]), ssim(planes[0], planes[1]))


def low_resolution(original: Tensor, scale: int, degradation: DegradationName, name: str) -> Tensor:
    """Make a picture small, and degrade it if that is wanted.

    Args:
        original: (1, 3, H, W), uint8 to be degraded, sides multiples of ``scale``.
        scale: Pixels out per pixel in.
        degradation: As for ``evaluate``.
        name: Of the picture: what happens to it depends on that only.

    Returns:
        (1, 3, H / scale, W / scale), of the original's type, of 8 bits where it is degraded.
    """
    if degradation == "bicubic":
        return downscale(original, scale)
    random = np.random.default_rng(zlib.crc32(os.fsencode(name)))
    return from_unit(degrade(to_unit(original), scale, recipe_of(degradation, scale), random), torch.uint8)


def _has_no_color(picture: Tensor) -> bool:
    red, green, blue = picture.unbind(1)
    return torch.equal(red, green) and torch.equal(green, blue)
