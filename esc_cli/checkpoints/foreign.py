"""Load a network of another family than ESC with spandrel, if that is installed."""

import importlib
import importlib.util
import warnings
from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType
from typing import Any

import torch

from esc_cli.errors import WeightsError, first_line, last_line
from esc_cli.networks.architectures.base import State
from esc_cli.networks.architectures.foreign import ForeignConfig, ForeignNetwork
from esc_cli.networks.trial import try_network
from esc_cli.version import install_hint

INSTALL_HINT = install_hint("spandrel")

_CHANNELS = (1, 3)
_MISSING_OPERATORS = ("torchvision::nms", "torchvision::qnms")


def is_spandrel_installed() -> bool:
    """Return whether spandrel can be imported."""
    return importlib.util.find_spec("spandrel") is not None


def spandrel() -> ModuleType:
    """Import spandrel.

    Raises:
        WeightsError: It, or a library that it needs, cannot be imported.
    """
    try:
        return _imported()
    except (ImportError, RuntimeError, OSError) as error:
        reason = first_line(error)
        raise WeightsError(f"spandrel cannot be imported: {reason}", hint=INSTALL_HINT) from error


def _imported() -> ModuleType:
    try:
        return importlib.import_module("spandrel")
    except RuntimeError:
        # A torchvision that was built for another torch, such as the CUDA build beside a CPU torch, has no
        # operators, and fails where it describes these two ("operator torchvision::nms does not exist").
        # Spandrel needs only functions of torchvision that are pure Python.
        for name in _MISSING_OPERATORS:
            torch.library.define(name, "(Tensor boxes, Tensor scores, float threshold) -> Tensor")
        return importlib.import_module("spandrel")


def load_foreign(states: Iterable[State], name: str) -> ForeignNetwork:
    """Load a network from its tensors, and find out on small pictures how much memory it needs.

    Args:
        states: The tensors of one file, under the names that they may have. The first that fit are taken.
        name: Name of the file, for errors.

    Raises:
        WeightsError: spandrel is not installed, does not know the network, or cannot load it; or the network
            is of a kind that does not fit pictures alone.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries, about torch's future
        return _tried(_descriptor(states, name), name)


def _tried(found: Any, name: str) -> ForeignNetwork:
    """Return a network that spandrel loaded, with the memory that it was found to need."""
    what = f"{name!r} holds a network of the architecture {found.architecture.name}"
    problem = _misfit(found)
    if problem is not None:
        raise WeightsError(f"{what}, {problem}")
    config = _config(found)
    # Spandrel's public call limits results to [0, 1], which would hide that half precision overflowed.
    network = ForeignNetwork(found.model.float().eval().requires_grad_(False), found._call_fn, config)
    try:
        trial = try_network(network, config)
    except Exception as error:  # whatever goes wrong in a library's network
        reason = first_line(error)
        raise WeightsError(f"{what}, which cannot be run: {reason}") from error
    if any(factor != config.scale for factor in trial.factors):
        raise WeightsError(f"{what}, whose results are not {config.scale} times as large as the picture")
    network.config = replace(
        config, values_per_pixel=trial.values_per_pixel, values_per_square=trial.values_per_square
    )
    return network


def _descriptor(states: Iterable[State], name: str) -> Any:
    """Return spandrel's description of a network, with the network in it."""
    library = spandrel()
    for state in states:
        try:
            return library.MAIN_REGISTRY.load(dict(state))
        except library.UnsupportedModelError:
            continue
        except Exception as error:  # a tensor is missing or of another shape, for example
            reason = last_line(error)
            raise WeightsError(f"the tensors of {name!r} do not fit any network: {reason}") from error
    raise WeightsError(
        f"{name!r} holds neither an ESC network nor one that spandrel {library.__version__} knows"
    )


def _misfit(found: Any) -> str | None:
    """Return the reason against running a network on pictures, or None."""
    if found.purpose == "Inpainting":
        return "which fills in parts of a picture, and needs to be told which"
    if found.purpose == "FaceSR":
        return "which restores faces that were cut out of their picture"
    if found.input_channels != found.output_channels or found.input_channels not in _CHANNELS:
        channels = f"{found.input_channels} channels and makes {found.output_channels}"
        return f"which takes {channels}, so it fits neither color nor gray pictures"
    return None


def _config(found: Any) -> ForeignConfig:
    sizes = found.size_requirements
    half = {"float16": found.supports_half, "bfloat16": found.supports_bfloat16}
    return ForeignConfig(
        scale=found.scale,
        architecture=found.architecture.name,
        tags=tuple(found.tags),
        channels=found.input_channels,
        window_size=sizes.multiple_of,
        smallest_px=max(1, sizes.minimum),
        square=sizes.square,
        half=tuple(name for name, supported in half.items() if supported),
        tiling=found.tiling.name.lower(),
    )
