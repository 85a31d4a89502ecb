"""Load the networks of a model that run one after the other to reach a scale."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from esc_cli.checkpoints.checkpoint import (
    Checkpoint,
    available_scales,
    does_any_scale,
    load_checkpoint,
    open_model,
)
from esc_cli.checkpoints.scales import default_scale, plan_passes
from esc_cli.errors import UsageError
from esc_cli.networks.architectures.base import has_weights


@dataclass(frozen=True)
class Cascade:
    """The networks of a model that run one after the other to reach a scale.

    Attributes:
        scales: Scale of each pass, in order. ESC reaches x12 in two passes, with the scales 4 and 3.
        checkpoints: The network of each of these scales. A network that runs twice is loaded once.
        does_any_scale: Whether the model is an arbitrary-scale model: one network makes results of any size.
    """

    scales: tuple[float, ...]
    checkpoints: Mapping[float, Checkpoint]
    does_any_scale: bool

    @classmethod
    def load(cls, model: str | Path | Checkpoint, scale: float | None = None) -> Self:
        """Load the networks for a scale.

        Args:
            model: The name of a shipped model or a baseline, the path of a checkpoint, or a checkpoint.
            scale: The scale. The default is 4 if the model has that scale, else its largest scale.

        Raises:
            UsageError: The scale is out of the model's reach.
            WeightsError: The model does not exist, or its file is damaged.
        """
        opened = open_model(model)
        scales = _planned_scales(opened, scale)
        checkpoints = {
            one: opened if isinstance(opened, Checkpoint) else load_checkpoint(opened, int(one))
            for one in set(scales)
        }
        return cls(scales, checkpoints, does_any_scale(opened))

    @property
    def scale(self) -> float:
        """Product of the scales of all passes."""
        return math.prod(self.scales)

    @property
    def first(self) -> Checkpoint:
        """The network of the first pass."""
        return self.checkpoints[self.scales[0]]

    @property
    def digests(self) -> tuple[str, ...]:
        """The sha256 of each pass's file, so that a result can name what made it."""
        return tuple(self.checkpoints[scale].sha256 for scale in self.scales)

    @property
    def is_opaque(self) -> bool:
        """Whether the steps of a network are unknown, so that the network runs only as it is written."""
        return any(checkpoint.config.opaque for checkpoint in self.checkpoints.values())

    @property
    def has_weights(self) -> bool:
        """Whether any of the networks has weights. A baseline has none."""
        return any(has_weights(checkpoint.network) for checkpoint in self.checkpoints.values())

    @property
    def keeps_pixels(self) -> bool:
        """Whether each pixel of a result copies one pixel of the picture, whatever its neighbors are."""
        return all(checkpoint.config.keeps_pixels for checkpoint in self.checkpoints.values())

    def supports(self, dtype: torch.dtype) -> bool:
        """Return whether all networks can compute in a type."""
        return all(checkpoint.config.supports(dtype) for checkpoint in self.checkpoints.values())

    def work_px(self, low_px: int) -> int:
        """Return the number of input pixels of all passes together.

        Args:
            low_px: Number of input pixels of the first pass.
        """
        before = [math.prod(self.scales[:position]) for position in range(len(self.scales))]
        return sum(int(low_px * scale**2) for scale in before)


def _planned_scales(model: str | Checkpoint, scale: float | None) -> tuple[float, ...]:
    available = available_scales(model)
    if scale is None:
        scale = default_scale(available)
    if not does_any_scale(model):
        return plan_passes(scale, available)
    if not 1 <= scale < math.inf:
        raise UsageError(f"this model cannot do x{scale:g}", hint="choose any scale from x1 up")
    return (scale,)
