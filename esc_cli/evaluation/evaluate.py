"""Evaluate a model with the protocol of the papers: shrink pictures, enlarge them again, and compare."""

import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.checkpoints.manifest import AUTO_MODEL
from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.engine.upscaler import Upscaler
from esc_cli.enhancement.choice import Chooser
from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.enhancement.size import Geometry
from esc_cli.enhancement.traces import traces_of
from esc_cli.errors import UsageError
from esc_cli.evaluation.degradation.bicubic import downscale, original_of
from esc_cli.evaluation.degradation.names import DegradationName
from esc_cli.evaluation.degradation.wild import degrade, recipe_of
from esc_cli.evaluation.metrics import crop_border, luma, psnr, ssim
from esc_cli.media.picture import Picture
from esc_cli.media.probe import find_pictures
from esc_cli.media.read import read_picture

_Restore = Callable[[Picture], Tensor]
"""Takes a low-resolution picture and returns (1, 3, scale H, scale W), uint8."""

GRAY_AT_SOURCE = frozenset({"bridge"})
"""Benchmark pictures whose original file has one channel, for copies in formats without grayscale.

The published figures score these pictures on their own values, 0 to 255. The only one is ``bridge`` in Set14.
(``man`` in Set14 is RGB with three equal channels, and is scored as color.) With luma, the mean of the set
would be 0.09 dB higher.
"""


@dataclass(frozen=True)
class PictureScore:
    """The scores of one picture.

    Attributes:
        name: Path of the picture below the folder.
        psnr: PSNR in dB; infinite if the picture was restored exactly.
        ssim: SSIM, at most 1.
    """

    name: str
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Evaluation:
    """The scores of a folder.

    Attributes:
        model: Name of the model or of its file.
        scale: Output pixels per input pixel.
        pictures: Scores of each picture.
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
        """Mean PSNR over the pictures, in dB."""
        return fmean(score.psnr for score in self.pictures)

    @property
    def ssim(self) -> float:
        """Mean SSIM over the pictures."""
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
    enlarged in float32 and rounded to 8 bits again. Scores are computed on luma, without a border of
    ``scale`` pixels. This is the protocol of the papers, which scores the network alone.

    Pictures can also be degraded, like the training pictures of models for degraded pictures. How a picture
    is degraded depends only on its name. Then the score is that of what users get: flat areas, gray and tone
    are treated as by the command, and ``auto`` chooses a model for each picture.

    Args:
        folder: Folder that is searched with its subfolders.
        model: Name or file of a model; see ``load_checkpoint``. For degraded pictures also ``auto``.
        scale: Output pixels per input pixel. The default is the largest scale of the model.
        device: Name of the device; see ``Upscaler``.
        tta: Whether to use the self-ensemble; see ``Upscaler``.
        degradation: ``bicubic`` is the protocol; see ``recipe_of`` for the others.
        progress: Function that is called with the number of pictures done and the number of all pictures.

    Raises:
        UsageError: ``auto`` cannot be scored by the protocol.
        InputError: There are no pictures, or one cannot be read or is smaller than the scale.
        WeightsError: The model does not exist or does not have this scale.
        DeviceError: The device does not exist or does not have enough memory.

    Source: ESC (arXiv 2503.06671), section 4, as BasicSR computes it.
    """
    paths = find_pictures(folder)
    options = EnhancementOptions(model=model, device=device, precision="float32", tta=tta)
    if degradation == "bicubic":
        name, scale, restore = _network(model, scale, options)
    else:
        name, scale, restore = _what_users_get(scale, options)
    scores = []
    for path in paths:
        scores.append(_score(path.relative_to(folder).as_posix(), path, restore, scale, degradation))
        if progress is not None:
            progress(len(scores), len(paths))
    return Evaluation(name, scale, tuple(scores), tta, degradation)


def _network(model: str | Path, scale: int | None, options: EnhancementOptions) -> tuple[str, int, _Restore]:
    """Return a model's name, its scale, and a function that runs the network alone."""
    if model == AUTO_MODEL:
        raise UsageError(
            "'auto' cannot be scored by the protocol of the papers, whose pictures are all clean",
            hint="name a model, or choose --degradation robust",
        )
    checkpoint = load_checkpoint(model, scale)
    scale = scale or checkpoint.config.scale
    upscaler = Upscaler(scale=scale, **options.but(model=checkpoint).engine)
    return checkpoint.name, scale, lambda low: upscaler(low.color)


def _what_users_get(scale: int | None, options: EnhancementOptions) -> tuple[str, int, _Restore]:
    """Return a model's name, its scale, and a function that enlarges a picture as the command does."""
    chooser = Chooser(options)
    if scale is None:
        scale = int(chooser.default.default().scale)
    chooser.default.upscaler(scale)  # to fail before the work

    def restore(low: Picture) -> Tensor:
        enlarger = enlarger_for(low, chooser, scale)
        return enlarger.to_size(low, enlarger.size_of(low)).picture.color

    return chooser.name, scale, restore


def enlarger_for(low: Picture, chooser: Chooser, scale: int) -> Enlarger:
    """Return what enlarges a picture as the command does, with the model that is chosen for it."""
    choice = chooser.choose(scale, lambda: [traces_of(low)])
    return Enlarger(chooser.models(choice), Geometry.of_scale(scale))


def _score(
    name: str, path: Path, restore: _Restore, scale: int, degradation: DegradationName
) -> PictureScore:
    picture = read_picture(path)
    original = original_of(path, picture.color, scale)
    low = low_resolution(original, scale, degradation, name)
    restored = restore(replace(picture, color=low, alpha=None))
    gray = picture.gray or (path.stem in GRAY_AT_SOURCE and _has_no_color(original))
    planes = [crop_border(luma(each, gray=gray), scale) for each in (original, restored)]
    return PictureScore(name, psnr(planes[0], planes[1]), ssim(planes[0], planes[1]))


def low_resolution(original: Tensor, scale: int, degradation: DegradationName, name: str) -> Tensor:
    """Shrink a picture, and degrade it unless ``degradation`` is ``bicubic``.

    Args:
        original: (1, 3, H, W), with sides that are multiples of ``scale``. It must be uint8 to be degraded.
        scale: Output pixels per input pixel.
        degradation: Name of the degradation; see ``evaluate``.
        name: Name of the picture. How the picture is degraded depends only on it.

    Returns:
        (1, 3, H / scale, W / scale), with the dtype of the original; uint8 if it is degraded.
    """
    if degradation == "bicubic":
        return downscale(original, scale)
    random = np.random.default_rng(zlib.crc32(os.fsencode(name)))
    return from_unit(degrade(to_unit(original), scale, recipe_of(degradation, scale), random), torch.uint8)


def _has_no_color(picture: Tensor) -> bool:
    red, green, blue = picture.unbind(1)
    return torch.equal(red, green) and torch.equal(green, blue)
