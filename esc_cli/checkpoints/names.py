"""Names of models. A name stands for a shipped model or a baseline. Anything else must be a file."""

from pathlib import Path
from typing import Literal, get_args

from esc_cli.checkpoints.manifest import AUTO_MODEL, DEFAULT_MODEL, read_manifest
from esc_cli.errors import WeightsError, did_you_mean

StandIn = Literal["nearest", "bicubic"]

PICKLE_SUFFIXES = (".pth", ".pt", ".ckpt")
WEIGHT_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
"""Extensions of checkpoint files."""


def is_baseline(model: str | Path) -> bool:
    """Return whether a name stands for a baseline, which is an interpolation and needs no weights."""
    return model in get_args(StandIn)


def is_name(model: str | Path) -> bool:
    """Return whether a model is given by the name of a shipped model or a baseline, and not as a file.

    Raises:
        WeightsError: The model is neither a known name nor a file.
    """
    if is_baseline(model) or model in {entry.name for entry in read_manifest()}:
        return True
    path = Path(model)
    if path.suffix.lower() in WEIGHT_SUFFIXES or path.is_file():
        return False
    raise _unknown(str(model))


def _unknown(name: str) -> WeightsError:
    if name == AUTO_MODEL:
        return WeightsError(
            f"{name!r} cannot choose a model here", hint=f"name a model, for example {DEFAULT_MODEL}"
        )
    names = sorted({entry.name for entry in read_manifest()} | set(get_args(StandIn)))
    hint = did_you_mean(name, names) or f"use one of {', '.join(names)}, or the path of a file"
    return WeightsError(f"there is no model {name!r}", hint=hint)
