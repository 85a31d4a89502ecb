"""Measure how far a result is from the result that the network computes in float64."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.evaluation.metrics import psnr
from esc_cli.networks.padding import pad_to_multiple


@dataclass(frozen=True)
class Deviation:
    """The difference between two pictures, before rounding to integers.

    Attributes:
        largest: Largest difference between two values in [0, 1].
        psnr: PSNR over all values of all channels, in dB; infinite if there is no difference.
    """

    largest: float
    psnr: float


def exact_result(checkpoint: Checkpoint, low: Tensor) -> Tensor:
    """Run a network in float64 on the CPU, on the whole picture, padded and cropped as the engine does.

    Args:
        checkpoint: The network.
        low: (1, 3, H, W) in [0, 1].

    Returns:
        (1, 3, scale H, scale W), float64, clamped to [0, 1].
    """
    height, width = (checkpoint.config.scale * side for side in low.shape[-2:])
    with torch.inference_mode(mode=False), torch.no_grad():
        network = copy.deepcopy(checkpoint.network).double()
        high: Tensor = network(pad_to_multiple(low.double(), checkpoint.config.window_size))
    return high[..., :height, :width].clamp(0, 1)


def deviation(result: Tensor, exact: Tensor) -> Deviation:
    """Compare a result with the exact one, both (1, 3, H, W) in [0, 1]."""
    largest = (result.double() - exact).abs().max().item()
    return Deviation(largest, psnr(result.double() * 255, exact * 255))
