"""Read the tensors of a checkpoint file without running any code that the file may contain."""

import pickle
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from esc_cli.checkpoints.manifest import PICKLE_SUFFIXES, WEIGHT_SUFFIXES
from esc_cli.errors import WeightsError

_WRAPPERS = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "sd", "net")
"""Keys under which training frameworks (BasicSR, neosr, Lightning, LTE) store tensors, preferred first."""

_DEEPEST = 3
"""Largest number of keys of other names, one inside the other, that may lead to the tensors."""

_INNER_PREFIX = "encoder."
"""Prefix of the feature network in LTE's checkpoints. Here that network and the rest are one network."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a file, under the names that they have in ESC's networks.

    A prefix that all keys share is removed: data-parallel training adds ``module.``, a compiled network
    ``_orig_mod.``, and Lightning the name of an attribute.

    Raises:
        WeightsError: See ``read_tensors``.
    """
    return bare(read_tensors(path))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a ``.safetensors``, ``.pth``, ``.pt`` or ``.ckpt`` file, under their own names.

    Training frameworks store the tensors under a key: ``params_ema`` is preferred to ``params``, and
    ``params`` to tensors without a key. LTE stores them in ``model`` under ``sd``. Any other key is accepted
    if it is the only one that holds tensors.

    Raises:
        WeightsError: The file does not exist, is damaged, is of another kind, or cannot be unpickled from
            tensors alone.
    """
    if not path.is_file():
        raise WeightsError(f"there is no model file {str(path)!r}")
    suffix = path.suffix.lower()
    content = _read_safetensors(path) if suffix == ".safetensors" else _read_pickle(path)
    state = _unwrap(content)
    if not state:
        raise WeightsError(f"the model file {str(path)!r} holds no tensors, or those of several networks")
    return state


def bare(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefixes that all keys share, and the prefix of LTE's feature network."""
    *_, shortest = without_prefixes(state)
    return {key.removeprefix(_INNER_PREFIX): tensor for key, tensor in shortest.items()}


def without_prefixes(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield a state dict as it is, then without the first prefix that all keys share, and so on."""
    yield state
    while len({key.partition(".")[0] for key in state}) == 1 and all("." in key for key in state):
        state = {key.partition(".")[2]: tensor for key, tensor in state.items()}
        yield state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise WeightsError(f"the model file {str(path)!r} is damaged or not a safetensors file") from error


def _read_pickle(path: Path) -> Any:
    if path.suffix.lower() not in PICKLE_SUFFIXES:
        known = ", ".join(WEIGHT_SUFFIXES)
        raise WeightsError(f"{str(path)!r} is not a model file: its name does not end in any of {known}")
    try:
        with warnings.catch_warnings():
            # Torch warns about pickles that it did not write. It raises an error for those it cannot read.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"the model file {str(path)!r} is damaged or contains more than tensors",
            hint="files that run code when they are loaded are refused; convert the file to .safetensors",
        ) from error
    except Exception as error:
        # Loading a damaged pickle can raise almost any exception: IndexError, struct.error, ...
        raise WeightsError(f"the model file {str(path)!r} is damaged") from error


def _unwrap(content: Any, depth: int = _DEEPEST) -> dict[str, Tensor]:
    """Return the tensors in the content of a file; none if several unknown keys hold some."""
    if not isinstance(content, Mapping):
        return {}
    if isinstance(content.get("model"), Mapping):
        content = content["model"]
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = {
        key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)
    }
    if tensors or not depth:
        return tensors
    inside = [state for value in content.values() if (state := _unwrap(value, depth - 1))]
    return inside[0] if len(inside) == 1 else {}
