"""Load what the analyses need: a network in float32, and the low-resolution pictures that it receives."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, available_scales, load_checkpoint
from esc_cli.engine.device import choose_device
from esc_cli.engine.tf32 import without_tf32
from esc_cli.errors import OutOfMemoryError
from esc_cli.evaluation.degradation.bicubic import downscale, original_of
from esc_cli.media.read import read_picture
from esc_cli.networks.architectures.registry import build_network


@dataclass(frozen=True)
class Subject:
    """A network to analyze.

    Attributes:
        network: Network in eval mode, float32, on ``device``. Its parameters need no gradient.
        name: Name of the model or of its file.
        scale: Output pixels per input pixel.
        device: Device of the network.
    """

    network: nn.Module
    name: str
    scale: int
    device: torch.device

    @contextmanager
    def in_float32(self) -> Iterator[None]:
        """Run the network in full float32 inside the context, without TF32.

        Raises:
            OutOfMemoryError: The device has too little memory.
        """
        try:
            with without_tf32():
                yield
        except torch.OutOfMemoryError as error:
            raise OutOfMemoryError(f"{self.device} does not have enough memory") from error


def load_subject(model: str | Path, scale: int | None, device: str) -> Subject:
    """Load a network for an analysis.

    Args:
        model: Name or file of a model; see ``load_checkpoint``.
        scale: One of the scales of the model. The default is its largest.
        device: Name of the device; see ``choose_device``.

    Raises:
        WeightsError: The model does not exist or does not have this scale.
        DeviceError: The device does not exist.
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
    """Return a copy of an arbitrary-scale network that uses ``scale`` by default."""
    network = build_network(replace(checkpoint.config, scale=scale)).eval()
    network.load_state_dict(checkpoint.network.state_dict())
    return network


def low_picture(path: Path, scale: int, *, is_low: bool) -> Tensor:
    """Read the low-resolution picture for a network.

    Args:
        path: Path of a picture.
        scale: Scale of the network.
        is_low: Whether the picture already has low resolution. Otherwise it is an original and is shrunk with
            the protocol of the papers.

    Returns:
        (1, 3, H, W) RGB, uint8, uint16, or float32 in [0, 1].

    Raises:
        InputError: The picture cannot be read or is smaller than the scale.
    """
    color = read_picture(path).color
    return color if is_low else downscale(original_of(path, color, scale), scale)
