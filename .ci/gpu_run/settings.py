"""Settings of both calls, and what all their stages share."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = 16
"""Number of source pictures to hold out, as in all runs before."""

Told = Iterator[dict[str, Any]]
"""The events of a stage, each with what it found out by name."""


@dataclass(frozen=True)
class Settings:
    """Settings of a call. The defaults are those of the real run.

    Attributes:
        device: PyTorch's name of the device.
        pictures: Folder of training pictures.
        exact: File that ``pack`` wrote: a small picture and the result of ESC x4 for it in float64.
        batch: Patches in one step.
        patch_px: Side of the low-resolution patches.
        steps: Number of steps of each variant of the training step.
        height: Height of the picture for measuring latency, in low-resolution pixels.
        width: Width of this picture, in low-resolution pixels.
        patience: Factor for the time limits of the stages; more than 1 if a CPU replaces the GPU.
    """

    device: str = "cuda"
    pictures: str = ".carry/pictures"
    exact: str = ".carry/exact.safetensors"
    batch: int = 16
    patch_px: int = 64
    steps: int = 10
    height: int = 180
    width: int = 320
    patience: float = 1.0

    def to_json(self) -> str:
        """Return the settings as JSON, which is passed as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Return the settings that ``to_json`` wrote."""
        return cls(**json.loads(text))
