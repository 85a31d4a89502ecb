"""The registry of the architectures and their named variants, which also recognizes state dicts."""

import dataclasses
from collections.abc import Callable

from torch import nn

from esc_cli.errors import UnknownNetworkError, WeightsError
from esc_cli.networks.architectures import (
    esc,
    esc_flashbias,
    esc_fp,
    esc_real,
    esc_real_m,
    esc_rib,
    interpolation,
    lte,
)
from esc_cli.networks.architectures.base import Architecture, NetworkConfig, State
from esc_cli.networks.architectures.tensors import COORDINATES, FACTORS, TABLE, UNATTENDED, entry

ARCHITECTURES: tuple[Architecture, ...] = (
    esc.ARCHITECTURE,
    esc_fp.ARCHITECTURE,
    esc_real.ARCHITECTURE,
    esc_real_m.ARCHITECTURE,
    esc_rib.ARCHITECTURE,
    lte.ARCHITECTURE,
    esc_flashbias.ARCHITECTURE,
    esc_flashbias.REAL_ARCHITECTURE,
    interpolation.ARCHITECTURE,
)
"""Each architecture has a module in this package and a line here. At most one recognizes a state dict."""

VARIANTS: dict[str, Callable[[int], NetworkConfig]] = {
    name: make for architecture in ARCHITECTURES for name, make in architecture.variants.items()
}
"""Functions that make the configuration of a named network for a scale, by the name of the network."""

_BY_CONFIG = {architecture.config: architecture for architecture in ARCHITECTURES}

_PUBLISHED_SCALE = 4
"""A scale that every variant has."""


def build_network(config: NetworkConfig) -> nn.Module:
    """Make the network that a configuration describes, with newly initialized weights.

    Raises:
        WeightsError: The network is of another family than ESC.
    """
    if config.opaque:
        raise WeightsError("only ESC networks can be built anew", hint="name an ESC model or checkpoint")
    return _BY_CONFIG[type(config)].network(config)


def variant_name(config: NetworkConfig) -> str:
    """Return the name of a configuration's variant, or a description if the paper has no name for it."""
    published = dataclasses.replace(config.body(), scale=_PUBLISHED_SCALE)
    for name, make in VARIANTS.items():
        if make(_PUBLISHED_SCALE) == published:
            return name
    return f"{type(config).__name__.removesuffix('Config')} (unnamed variant)"


def recognise(state: State) -> NetworkConfig:
    """Return the configuration of the network that a state dict belongs to, found from its tensors alone.

    Raises:
        UnknownNetworkError: The state dict does not belong to an ESC network.
        WeightsError: The state dict belongs to an ESC network that cannot be built here.
    """
    problem: Exception = ValueError("its head is of an unknown kind")
    for architecture in ARCHITECTURES:
        try:
            config = architecture.recognise(state)
        except (KeyError, IndexError, ValueError) as error:
            problem = ValueError("one has too few dimensions") if isinstance(error, IndexError) else error
            continue
        if config is not None:
            return config
    bias = next((key for key in (FACTORS, COORDINATES, UNATTENDED) if key in state), TABLE)
    missing = [key for key in (entry(state), "blocks.0.proj.proj.weight", bias) if key not in state]
    if missing:
        raise UnknownNetworkError(
            f"the file does not hold an ESC network: it has no tensor called {missing[0]!r}"
        )
    raise WeightsError(
        f"the file looks like an ESC network, but its tensors do not fit: {problem}"
    ) from problem
