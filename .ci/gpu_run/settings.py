"""Settings that both calls and all their stages share."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT = 16
"""Source pictures, as in all runs before."""


@dataclass(frozen=True)
class Settings:
    """The size of things; the defaults are those of the real run.

    Attributes:
        device: As torch names it.
        pictures: Folder of training pictures.
        exact: A small picture and what ESC x4 makes of it in float64, as ``pack`` wrote it.
        batch: Patches a step.
        patch_px: Their side, low-resolution pixels.
        steps: Of each variant of the training step.
        height: Of the picture whose latency is measured, low-resolution pixels.
        width: As ``height``.
        patience: What the limits of the stages are multiplied by; more than 1 where a CPU stands in.
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
        """Write them as one argument of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """Read what ``to_json`` wrote."""
        return cls(**json.loads(text))
