"""The named networks of the paper, and one way from a configuration to its network."""

import dataclasses
from collections.abc import Callable
from functools import partial

from torch import nn

from esc_cli.networks.esc import ESC, ESCConfig
from esc_cli.networks.esc_flashbias import (
    ESCFlashBias,
    ESCFlashBiasConfig,
    ESCRealFlashBias,
    ESCRealFlashBiasConfig,
)
from esc_cli.networks.esc_fp import ESCFP, ESCFPConfig
from esc_cli.networks.esc_real import ESCReal, ESCRealConfig
from esc_cli.networks.esc_real_m import ESCRealM, ESCRealMConfig, inner_config
from esc_cli.networks.esc_rib import ESCRIB, ESCRIBConfig
from esc_cli.networks.interpolation import Interpolation, InterpolationConfig
from esc_cli.networks.lte import LTE, LTEConfig

NetworkConfig = ESCConfig | ESCFPConfig | ESCRealConfig | InterpolationConfig


def _esc_light(scale: int) -> ESCConfig:
    return ESCConfig(scale, blocks=3)


def _esc_xl(scale: int) -> ESCConfig:
    return ESCConfig(
        scale,
        dim=192,
        partial_dim=48,
        heads=12,
        blocks=8,
        window_size=48,
        first_hidden_dim=384,
        hidden_dim=240,
        inner_norm=True,
    )


def _esc_real_m(scale: int) -> ESCRealMConfig:
    unshuffle = max(1, 4 // scale) if scale < 3 else 1
    return ESCRealMConfig(scale, window_size=32 * unshuffle, unshuffle=unshuffle)


VARIANTS: dict[str, Callable[[int], NetworkConfig]] = {
    "esc": ESCConfig,
    "esc-light": _esc_light,
    "esc-fp": ESCFPConfig,
    "esc-xl": _esc_xl,
    "esc-real": ESCRealConfig,
    "esc-realm": _esc_real_m,
    "esc-rib": ESCRIBConfig,
    "esc-milk": partial(ESCConfig, mixer="milk"),
    "esc-atconv": partial(ESCConfig, mixer="atconv", kernel_size=3),
    "esc-lte": LTEConfig,
}
"""Configurations by name, for a scale.

Source: arXiv 2503.06671, table 1, and its published code; ESC-RIB: arXiv 2603.06738, and its. ESC-MiLK and
ESC-ATConv are ESC with the mixers of other works; nobody has published such networks.
"""


_PUBLISHED_SCALE = 4
"""One that every variant has."""


_NETWORKS: dict[type, Callable[..., nn.Module]] = {
    ESCConfig: ESC,
    ESCFPConfig: ESCFP,
    ESCRealConfig: ESCReal,
    ESCRealMConfig: ESCRealM,
    ESCRIBConfig: ESCRIB,
    LTEConfig: LTE,
    ESCFlashBiasConfig: ESCFlashBias,
    ESCRealFlashBiasConfig: ESCRealFlashBias,
    InterpolationConfig: Interpolation,
}


def build_network(config: NetworkConfig) -> nn.Module:
    """Make the network that a configuration describes, with freshly initialised weights."""
    return _NETWORKS[type(config)](config)


def variant_name(config: NetworkConfig) -> str:
    """Name the variant of a configuration, or describe it where the paper has no name for it."""
    if isinstance(config, ESCRealMConfig):
        config = inner_config(config)
    published = dataclasses.replace(config, scale=_PUBLISHED_SCALE)
    for name, make in VARIANTS.items():
        if make(_PUBLISHED_SCALE) == published:
            return name
    return f"{type(config).__name__.removesuffix('Config')} (unnamed variant)"
