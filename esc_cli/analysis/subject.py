"""What is looked into: a network in float32, and the low-resolution pictures that it is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, available_scales, load_checkpoint
from esc_cli.engine.device import choose_device
from esc_cli.engine.tf32 import without_tf32
from esc_cli.errors import InputError, OutOfMemoryError
from esc_cli.evaluation.degradation.bicubic import crop_to_multiple, downscale
from esc_cli.media.read import read_picture
from esc_cli.networks.architectures.registry import build_network


@dataclass(frozen=True)
class Subject:
    """A network to look into.

    Attributes:
        network: In eval mode, float32, on ``device``; its parameters need no gradient.
        name: The model's, or the file's.
        scale: Pixels out per pixel in.
        device: Where it runs.
    """

    network: nn.Module
    name: str
    scale: int
    device: torch.device

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Run the network in float32 that is float32.

        Raises:
            OutOfMemoryError: The device has too little memory.
        """
        try:
            with without_tf32():
                yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(f"{self.device} has not enough memory") from error


def load_subject(model: str | Path, scale: int | None, device: str) -> Subject:
    """Load a network.

    Args:
        model: As for ``load_checkpoint``.
        scale: Which of a model's scales; by default its largest.
        device: As for ``choose_device``.

    Raises:
        WeightsError: There is no such model, or it has no such scale.
        DeviceError: There is no such device.
    """
    checkpoint, chosen = load_checkpoint(model, scale), choose_device(device).device
    own_scale = available_scales(checkpoint)[0]
    if checkpoint.scale is None and scale is not None:
        network, own_scale = _for_scale(checkpoint, scale), scale
    else:
        network = checkpoint.network
    network = network.to(chosen).requires_grad_(requires_grad=False)
    return Subject(network, checkpoint.name, own_scale, chosen)


def _for_scale(checkpoint: Checkpoint, scale: int) -> nn.Module:
    """Make a network that does any scale do one unasked."""
    network = build_network(replace(checkpoint.config, scale=scale)).eval()
    network.load_state_dict(checkpoint.network.state_dict())
    return network


def low_picture(path: Path, scale: int, *, is_low: bool) -> Tensor:
    """Read the low-resolution picture for a network.

    Args:
        path: A picture.
        scale: The network's.
        is_low: The picture is of low resolution already; by default it is an original, which is shrunk by
            the papers' protocol.

    Returns:
        (1, 3, H, W) RGB, uint8, uint16, or float32 in [0, 1].

    Raises:
        InputError: It cannot be read, or is smaller than the scale.
    """
    color = read_picture(path).color
    if is_low:
        return color
    original = crop_to_multiple(color, scale)
    if 0 in original.shape:
        raise InputError(f"{str(path)!r} is smaller than {scale}x{scale} pixels")
    return downscale(original, scale)
