"""Recognise a network and all of its widths from the shapes of its tensors.

Source: the published ESC code's state-dict keys; every width below is the shape of one of them.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from esc_cli.errors import WeightsError
from esc_cli.networks.dysample import GROUPS
from esc_cli.networks.esc import ESCConfig
from esc_cli.networks.esc_fp import ESCFPConfig
from esc_cli.networks.esc_real import NEAREST_HEAD_SCALE, ESCRealConfig
from esc_cli.networks.variants import NetworkConfig

_BIAS = "blocks.0.attn.relative_position_bias"

_FOREIGN = {
    "to_img.MetaUpsample": "an ESCRealM network, whose head this version cannot build",
    "blocks.0.attn.flashbias_q": "an ESC network with factorised attention bias (FlashBias)",
    "blocks.0.attn.to_hidden": "an ESC-RIB network",
    "encoder.plk_filter": "an ESC network for arbitrary scales (LTE)",
    "to_img.10.weight": "an ESC network in neosr's own layout",
}
"""Relatives of the supported networks: a key that only they have, and what to call them."""


def recognise(state: Mapping[str, Tensor]) -> NetworkConfig:
    """Give the configuration of the network that a state dict belongs to.

    Raises:
        WeightsError: It is of no network that can be built here.
    """
    for key, description in _FOREIGN.items():
        if key in state:
            raise WeightsError(f"the file holds {description}, which is not supported yet")
    missing = [key for key in ("proj.weight", "blocks.0.proj.proj.weight", _BIAS) if key not in state]
    if missing:
        raise WeightsError(f"the file holds no ESC network: it has no tensor called {missing[0]!r}")
    try:
        return _recognise_known(state)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(
            f"the file looks like an ESC network, but its tensors do not fit: {error}"
        ) from error


def _recognise_known(state: Mapping[str, Tensor]) -> NetworkConfig:
    if "lk_spatial" in state:
        return _decomposed_config(state)
    if "skip.0.weight" in state:
        return _real_config(state)
    widths = _widths(state, state["plk_filter"])
    return ESCConfig(scale=_pixel_shuffle_scale(state), inner_norm=_has_inner_norm(state), **widths)


def _decomposed_config(state: Mapping[str, Tensor]) -> ESCFPConfig:
    return ESCFPConfig(scale=_pixel_shuffle_scale(state), **_widths(state, state["lk_spatial"]))


def _real_config(state: Mapping[str, Tensor]) -> ESCRealConfig:
    widths = _widths(state, state["plk_filter"]) | {"inner_norm": _has_inner_norm(state)}
    if "to_img.offset.weight" not in state:
        return ESCRealConfig(scale=NEAREST_HEAD_SCALE, head="nearest", **widths)
    positions = state["to_img.offset.weight"].shape[0] // (2 * GROUPS)
    return ESCRealConfig(scale=_exact_root(positions), head="dysample", **widths)


def _widths(state: Mapping[str, Tensor], large_kernel: Tensor) -> dict[str, Any]:
    heads, positions = state[_BIAS].shape
    return {
        "dim": state["proj.weight"].shape[0],
        "partial_dim": large_kernel.shape[0],
        "heads": heads,
        "blocks": _count(state, r"blocks\.(\d+)\."),
        "mixers": _count(state, r"blocks\.0\.pconvs\.(\d+)\."),
        "kernel_size": large_kernel.shape[-1],
        "window_size": (_exact_root(positions) + 1) // 2,
        "first_hidden_dim": state["blocks.0.proj.proj.weight"].shape[0],
        "hidden_dim": state["blocks.0.convffns.0.proj.weight"].shape[0],
    }


def _has_inner_norm(state: Mapping[str, Tensor]) -> bool:
    return "blocks.0.lns.0.weight" in state


def _pixel_shuffle_scale(state: Mapping[str, Tensor]) -> int:
    return _exact_root(state["to_img.weight"].shape[0] // 3)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    matches = (re.match(pattern, key) for key in state)
    return 1 + max(int(match[1]) for match in matches if match)


def _exact_root(square: int) -> int:
    root = math.isqrt(square)
    if root * root != square:
        raise ValueError(f"{square} is no square number")
    return root
