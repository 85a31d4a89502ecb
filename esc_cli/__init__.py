"""Makes pictures larger and better with the ESC networks.

The public Python API loads on first use, so that importing the package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esc_cli.checkpoints.checkpoint import load_checkpoint
    from esc_cli.engine.upscaler import Upscaler
    from esc_cli.jobs.upscale import upscale, upscale_files

__all__ = ["Upscaler", "load_checkpoint", "upscale", "upscale_files"]

_HOMES = {
    "Upscaler": "esc_cli.engine.upscaler",
    "load_checkpoint": "esc_cli.checkpoints.checkpoint",
    "upscale": "esc_cli.jobs.upscale",
    "upscale_files": "esc_cli.jobs.upscale",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
