"""Read the tensors of a checkpoint file, without ever running code that it may hold."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from esc_cli.checkpoints.names import PICKLE_SUFFIXES, WEIGHT_SUFFIXES
from esc_cli.errors import WeightsError

_WRAPPERS = ("params_ema", "params", "state_dict", "sd")
"""Keys under which training frameworks put the tensors (BasicSR, Lightning, LTE), the best first."""

_INNER_PREFIX = "encoder."
"""LTE's code keeps the network that describes the picture under it, beside the rest. Here they are one."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file.

    Of a training framework's wrapping, ``params_ema`` is preferred to ``params``, and that to bare tensors;
    in LTE's they lie in ``model`` under ``sd``. A prefix that all keys share is taken off: data-parallel
    training leaves ``module.``, a compiled network ``_orig_mod.``, Lightning the name of an attribute.

    Raises:
        WeightsError: There is no such file, it is damaged, it is of another kind, or it needs more than
            tensors to be unpickled.
    """
    if not path.is_file():
        raise WeightsError(f"there is no model file {str(path)!r}")
    suffix = path.suffix.lower()
    content = _read_safetensors(path) if suffix == ".safetensors" else _read_pickle(path)
    state = _unwrap(content)
    if not state:
        raise WeightsError(f"the model file {str(path)!r} holds no tensors")
    return {key.removeprefix(_INNER_PREFIX): tensor for key, tensor in _without_prefix(state).items()}


def _without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what all keys begin with, as often as they do."""
    while len({key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
        state = {key.partition(".")[2]: tensor for key, tensor in state.items()}
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"the model file {str(path)!r} is damaged or no safetensors file") from error


def _read_pickle(path: Path) -> Any:
    if path.suffix.lower() not in PICKLE_SUFFIXES:
        known = ", ".join(WEIGHT_SUFFIXES)
        raise WeightsError(f"{str(path)!r} is no model file: it ends in none of {known}")
    try:
        with warnings.catch_warnings():
            # Torch warns of pickles that it did not write; what it cannot read it refuses below.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"the model file {str(path)!r} is damaged, or needs more than tensors to be loaded",
            hint="files that run code when they are loaded are refused; convert it to .safetensors",
        ) from error
    except Exception as error:
        # A damaged pickle fails with whatever its bytes happen to ask for: IndexError, struct.error, ...
        raise WeightsError(f"the model file {str(path)!r} is damaged") from error


def _unwrap(content: Any) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    if isinstance(content.get("model"), Mapping):
        content = content["model"]
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    return {
        key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
