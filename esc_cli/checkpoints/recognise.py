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
from esc_cli.networks.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.esc_fp import ESCFPConfig
from esc_cli.networks.esc_real import NEAREST_HEAD_SCALE, ESCRealConfig
from esc_cli.networks.esc_rib import ESCRIBConfig
from esc_cli.networks.variants import NetworkConfig

_TABLE = "blocks.0.attn.relative_position_bias"
_FACTORS = "blocks.0.attn.flashbias_q"
_COORDINATES = "blocks.0.attn.to_hidden"
"""Keys of the attention bias, in its three forms."""

_FOREIGN = {
    "to_img.MetaUpsample": "an ESCRealM network, whose head this version cannot build",
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
    bias = next((key for key in (_FACTORS, _COORDINATES) if key in state), _TABLE)
    missing = [key for key in ("proj.weight", "blocks.0.proj.proj.weight", bias) if key not in state]
    if missing:
        raise WeightsError(f"the file holds no ESC network: it has no tensor called {missing[0]!r}")
    try:
        return _recognise_known(state)
    except (KeyError, IndexError, ValueError) as error:
        raise WeightsError(
            f"the file looks like an ESC network, but its tensors do not fit: {error}"
        ) from error


def _recognise_known(state: Mapping[str, Tensor]) -> NetworkConfig:
    if _COORDINATES in state:
        return _rib_config(state)
    if "lk_spatial" in state:
        widths = _widths(state, state["lk_spatial"]) | _table_widths(state)
        return ESCFPConfig(scale=_pixel_shuffle_scale(state["to_img.weight"]), **widths)
    widths = _widths(state, state["plk_filter"]) | {"inner_norm": _has_inner_norm(state)}
    if _FACTORS in state:
        widths |= _factor_widths(state)
    else:
        widths |= _table_widths(state)
    if "skip.0.weight" in state:
        return _real_config(state, widths)
    scale = _pixel_shuffle_scale(state["to_img.weight"])
    return ESCFlashBiasConfig(scale, **widths) if _FACTORS in state else ESCConfig(scale, **widths)


def _real_config(state: Mapping[str, Tensor], widths: dict[str, Any]) -> ESCRealConfig:
    make = ESCRealFlashBiasConfig if _FACTORS in state else ESCRealConfig
    if "to_img.offset.weight" not in state:
        return make(scale=NEAREST_HEAD_SCALE, head="nearest", **widths)
    positions = state["to_img.offset.weight"].shape[0] // (2 * GROUPS)
    return make(scale=_exact_root(positions), head="dysample", **widths)


def _rib_config(state: Mapping[str, Tensor]) -> ESCRIBConfig:
    """Give the configuration of an ESC-RIB network; its window shows in no tensor: the published one."""
    heads, bias_hidden_dim, bias_rank = state["blocks.0.attn.to_q"].shape
    return ESCRIBConfig(
        scale=_pixel_shuffle_scale(state["upsampler.up_conv.weight"]),
        heads=heads,
        inner_norm=_has_inner_norm(state),
        bias_rank=bias_rank,
        bias_hidden_dim=bias_hidden_dim,
        frequencies=(state[_COORDINATES].shape[0] - 2) // 4,
        **_widths(state, state["plk_filter"]),
    )


def _table_widths(state: Mapping[str, Tensor]) -> dict[str, Any]:
    heads, positions = state[_TABLE].shape
    return {"heads": heads, "window_size": (_exact_root(positions) + 1) // 2}


def _factor_widths(state: Mapping[str, Tensor]) -> dict[str, Any]:
    heads, tokens, bias_rank = state[_FACTORS].shape
    return {"heads": heads, "window_size": _exact_root(tokens), "bias_rank": bias_rank}


def _widths(state: Mapping[str, Tensor], large_kernel: Tensor) -> dict[str, Any]:
    return {
        "dim": state["proj.weight"].shape[0],
        "partial_dim": large_kernel.shape[0],
        "blocks": _count(state, r"blocks\.(\d+)\."),
        "mixers": _count(state, r"blocks\.0\.pconvs\.(\d+)\."),
        "kernel_size": large_kernel.shape[-1],
        "first_hidden_dim": state["blocks.0.proj.proj.weight"].shape[0],
        "hidden_dim": state["blocks.0.convffns.0.proj.weight"].shape[0],
    }


def _has_inner_norm(state: Mapping[str, Tensor]) -> bool:
    return "blocks.0.lns.0.weight" in state


def _pixel_shuffle_scale(head: Tensor) -> int:
    return _exact_root(head.shape[0] // 3)


def _count(state: Mapping[str, Tensor], pattern: str) -> int:
    matches = (re.match(pattern, key) for key in state)
    return 1 + max(int(match[1]) for match in matches if match)


def _exact_root(square: int) -> int:
    root = math.isqrt(square)
    if root * root != square:
        raise ValueError(f"{square} is no square number")
    return root
