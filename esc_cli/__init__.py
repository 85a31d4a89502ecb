"""Upscale and enhance pictures with the ESC networks.

The public Python API loads on first use, so that importing the package does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from esc_cli.checkpoints.checkpoint import load_checkpoint
    from esc_cli.engine.upscaler import Upscaler
    from esc_cli.jobs.options import Options
    from esc_cli.jobs.upscale import upscale, upscale_files
    from esc_cli.version import __version__

__all__ = ["Options", "Upscaler", "__version__", "load_checkpoint", "upscale", "upscale_files"]

_HOMES = {
    "Options": "esc_cli.jobs.options",
    "Upscaler": "esc_cli.engine.upscaler",
    "__version__": "esc_cli.version",
    "load_checkpoint": "esc_cli.checkpoints.checkpoint",
    "upscale": "esc_cli.jobs.upscale",
    "upscale_files": "esc_cli.jobs.upscale",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
