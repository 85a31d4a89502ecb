"""The architectures that this program knows, their published variants, and what becomes of a state dict."""

import dataclasses
from collections.abc import Callable

from torch import nn

from esc_cli.errors import WeightsError
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
"""Each is one module here, and one line. At most one of them recognises a state dict."""

VARIANTS: dict[str, Callable[[int], NetworkConfig]] = {
    name: make for architecture in ARCHITECTURES for name, make in architecture.variants.items()
}
"""Configurations of the published networks by name, for a scale."""

_BY_CONFIG = {architecture.config: architecture for architecture in ARCHITECTURES}

_PUBLISHED_SCALE = 4
"""One that every variant has."""


def build_network(config: NetworkConfig) -> nn.Module:
    """Make the network that a configuration describes, with freshly initialised weights."""
    return _BY_CONFIG[type(config)].network(config)


def variant_name(config: NetworkConfig) -> str:
    """Name the variant of a configuration, or describe it where the paper has no name for it."""
    published = dataclasses.replace(config.body(), scale=_PUBLISHED_SCALE)
    for name, make in VARIANTS.items():
        if make(_PUBLISHED_SCALE) == published:
            return name
    return f"{type(config).__name__.removesuffix('Config')} (unnamed variant)"


def recognise(state: State) -> NetworkConfig:
    """Give the configuration of the network that a state dict belongs to, by its tensors alone.

    Raises:
        WeightsError: It is of no network that can be built here.
    """
    bias = next((key for key in (FACTORS, COORDINATES, UNATTENDED) if key in state), TABLE)
    missing = [key for key in (entry(state), "blocks.0.proj.proj.weight", bias) if key not in state]
    if missing:
        raise WeightsError(f"the file holds no ESC network: it has no tensor called {missing[0]!r}")
    try:
        found = (architecture.recognise(state) for architecture in ARCHITECTURES)
        config = next((one for one in found if one is not None), None)
        if config is None:
            raise ValueError("its head is of no known kind")
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(
            f"the file looks like an ESC network, but its tensors do not fit: {error}"
        ) from error
    return config
