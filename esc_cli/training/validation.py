"""Measure the quality of a network during training, on the held-out pictures."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from esc_cli.engine.pixels import from_unit, to_unit
from esc_cli.errors import InputError
from esc_cli.evaluation.degradation.wild import Degradation
from esc_cli.evaluation.metrics import crop_border, luma, psnr
from esc_cli.training.pairs import Files, Pair, centre_crop, load_pair
from esc_cli.training.patches import degraded

VALIDATION_PX = 96
"""Side of the validation crops, in low-resolution pixels: three windows of ESC. It is the same for all
networks, so that their figures can be compared."""

_SEED = 0
"""Seed for degrading the held-out pictures. It is the same for all runs, so that they can be compared."""


@dataclass(frozen=True)
class ValidationSet:
    """The middles of the held-out pictures, downscaled by bicubic and by the run's own degradation.

    Attributes:
        clean: Pairs by the papers' protocol, downscaled by bicubic.
        degraded: Pairs by the run's degradation, with a fixed seed; empty if the run has no degradation.
    """

    clean: tuple[Pair, ...]
    degraded: tuple[Pair, ...]

    def scores(self, network: nn.Module) -> dict[str, float]:
        """Return the mean PSNR of the network on the clean and on the degraded pairs, in dB."""
        scores = {"psnr": validate(network, self.clean)}
        return {**scores, "psnr_degraded": validate(network, self.degraded)} if self.degraded else scores


def load_validation_set(
    files: Iterable[Files],
    scale: int,
    device: torch.device,
    *,
    recipe: Degradation | None,
) -> ValidationSet:
    """Load the middles of the validation pictures onto the device.

    Raises:
        InputError: A file cannot be read, or none is large enough.
    """
    pairs = [pair for pair in (load_pair(one, scale) for one in files) if pair is not None]
    if not pairs:
        raise InputError(f"no validation picture is as large as {scale}x{scale} pixels")
    crops = (centre_crop(pair, VALIDATION_PX) for pair in pairs)
    clean = tuple(crop.each(lambda picture: picture.to(device)) for crop in crops)
    if recipe is None:
        return ValidationSet(clean, ())
    randoms = [np.random.default_rng([_SEED, number]) for number in range(len(clean))]
    pictures = zip(clean, randoms, strict=True)
    return ValidationSet(clean, tuple(degraded(pair, recipe, random) for pair, random in pictures))


@torch.inference_mode()
def validate(network: nn.Module, pairs: Iterable[Pair]) -> float:
    """Return the mean PSNR of the 8-bit results on luma, in dB."""
    values = []
    for pair in pairs:
        high = from_unit(network(to_unit(pair.low[None])), torch.uint8)
        planes = [crop_border(luma(picture), pair.scale) for picture in (high, pair.high[None])]
        values.append(psnr(planes[0], planes[1]))
    return round(sum(values) / len(values), 4)
