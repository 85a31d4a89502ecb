"""Recognise a network and all of its widths from the shapes of its tensors.

Source: the published ESC code's state-dict keys; every width below is the shape of one of them.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, get_args

from torch import Tensor

from esc_cli.checkpoints.recognise_mixer import mixer_widths
from esc_cli.errors import WeightsError
from esc_cli.networks.dysample import GROUPS
from esc_cli.networks.esc import ESCConfig
from esc_cli.networks.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.esc_fp import ESCFPConfig
from esc_cli.networks.esc_real import NEAREST_HEAD_SCALE, ESCRealConfig
from esc_cli.networks.esc_real_m import ESCRealMConfig, Head
from esc_cli.networks.esc_rib import ESCRIBConfig
from esc_cli.networks.lte import LTEConfig
from esc_cli.networks.variants import NetworkConfig

_TABLE = "blocks.0.attn.relative_position_bias"
_FACTORS = "blocks.0.attn.flashbias_q"
_COORDINATES = "blocks.0.attn.to_hidden"
"""Keys of the attention bias, in its three forms."""

_UNATTENDED = "blocks.0.attn.aggr.weight"
"""A network without window attention has a mixing layer in its place."""

_META = "to_img.MetaUpsample"
"""Numbers by which ESCRealM's heads describe themselves."""

_META_VERSIONS = (2, 3)

_REFUSED_HEADS = {6: "lda", 7: "pa_up"}
"""Heads of ESCRealM that only traiNNer-redux has, by their numbers."""


def recognise(state: Mapping[str, Tensor]) -> NetworkConfig:
    """Give the configuration of the network that a state dict belongs to.

    Raises:
        WeightsError: It is of no network that can be built here.
    """
    bias = next((key for key in (_FACTORS, _COORDINATES, _UNATTENDED) if key in state), _TABLE)
    missing = [key for key in (_entry(state), "blocks.0.proj.proj.weight", bias) if key not in state]
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
        widths = _widths(state) | _kernel_widths(state["lk_spatial"]) | _table_widths(state)
        return ESCFPConfig(scale=_pixel_shuffle_scale(state["to_img.weight"]), **widths)
    widths = _widths(state) | mixer_widths(state) | {"inner_norm": _has_inner_norm(state)}
    if _FACTORS in state:
        widths |= _factor_widths(state)
    else:
        widths |= _table_widths(state)
    if _META in state:
        return _real_m_config(state, widths)
    if "skip.0.weight" in state:
        return _real_config(state, widths)
    if "imnet.layers.0.weight" in state:
        return _lte_config(state, widths)
    scale = _pixel_shuffle_scale(state["to_img.weight"])
    return ESCFlashBiasConfig(scale, **widths) if _FACTORS in state else ESCConfig(scale, **widths)


def _real_config(state: Mapping[str, Tensor], widths: dict[str, Any]) -> ESCRealConfig:
    make = ESCRealFlashBiasConfig if _FACTORS in state else ESCRealConfig
    if "to_img.offset.weight" in state:
        positions = state["to_img.offset.weight"].shape[0] // (2 * GROUPS)
        return make(scale=_exact_root(positions), head="dysample", **widths)
    if "to_img.4.weight" in state:
        return make(scale=NEAREST_HEAD_SCALE, head="nearest", **widths)
    # Of five layers for each doubling the second and the fourth are convolutions; one more ends the head.
    return make(scale=2 ** (_count(state, r"to_img\.(\d+)\.") // 5), head="neosr", **widths)


def _real_m_config(state: Mapping[str, Tensor], widths: dict[str, Any]) -> ESCRealMConfig:
    """Give the configuration of an ESCRealM network; its head says in ``_META`` what tensors do not show.

    Source: the published code; of seven numbers the second is the head's, then its scale; the sixth is its
    inner width.
    """
    version, number, head_scale, _, _, head_dim, _ = (int(value) for value in state[_META].tolist())
    if version not in _META_VERSIONS or number in _REFUSED_HEADS:
        described = repr(_REFUSED_HEADS.get(number, f"version {version}"))
        raise WeightsError(f"the file holds an ESCRealM network with the head {described}, unknown here")
    head: Head = get_args(Head)[number] if head_scale > 1 else "conv"
    unshuffle = _exact_root(state[_entry(state)].shape[1] // 3)
    if head != "conv" and head_scale % unshuffle:
        raise ValueError(f"a head of x{head_scale} after unshuffling by {unshuffle} gives no whole scale")
    return ESCRealMConfig(
        scale=1 if head == "conv" else head_scale // unshuffle,
        head=head,
        head_dim=head_dim,
        unshuffle=unshuffle,
        **widths | {"window_size": widths["window_size"] * unshuffle},
    )


def _lte_config(state: Mapping[str, Tensor], widths: dict[str, Any]) -> LTEConfig:
    hidden = (_count(state, r"imnet\.layers\.(\d+)\.") - 1) // 2  # every other one is an activation
    return LTEConfig(
        texture_dim=state["coef.weight"].shape[0],
        decoder_dims=tuple(state[f"imnet.layers.{2 * index}.bias"].shape[0] for index in range(hidden)),
        **widths,
    )


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
        **_widths(state) | _kernel_widths(state["plk_filter"]),
    )


def _table_widths(state: Mapping[str, Tensor]) -> dict[str, Any]:
    if _UNATTENDED in state:
        return {"heads": 0, "window_size": 1}
    heads, positions = state[_TABLE].shape
    return {"heads": heads, "window_size": (_exact_root(positions) + 1) // 2}


def _factor_widths(state: Mapping[str, Tensor]) -> dict[str, Any]:
    heads, tokens, bias_rank = state[_FACTORS].shape
    return {"heads": heads, "window_size": _exact_root(tokens), "bias_rank": bias_rank}


def _entry(state: Mapping[str, Tensor]) -> str:
    """Name the convolution that the picture enters by: the second step where the first unshuffles it."""
    return "proj.1.weight" if "proj.1.weight" in state else "proj.weight"


def _widths(state: Mapping[str, Tensor]) -> dict[str, Any]:
    return {
        "dim": state[_entry(state)].shape[0],
        "blocks": _count(state, r"blocks\.(\d+)\."),
        "mixers": _count(state, r"blocks\.0\.pconvs\.(\d+)\."),
        "first_hidden_dim": state["blocks.0.proj.proj.weight"].shape[0],
        "hidden_dim": state["blocks.0.convffns.0.proj.weight"].shape[0],
    }


def _kernel_widths(large_kernel: Tensor) -> dict[str, Any]:
    return {"partial_dim": large_kernel.shape[0], "kernel_size": large_kernel.shape[-1]}


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
