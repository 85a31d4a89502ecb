"""Widths of ESC's parts, read from the shapes of their tensors.

Source: the state-dict keys of the published ESC code; every width below is the shape of one of them.
"""

import math
import re
from typing import Any

from torch import Tensor

from esc_cli.networks.architectures.base import State

TABLE = "blocks.0.attn.relative_position_bias"
FACTORS = "blocks.0.attn.flashbias_q"
COORDINATES = "blocks.0.attn.to_hidden"
"""Keys of the attention bias, in its three forms."""

UNATTENDED = "blocks.0.attn.aggr.weight"
"""A network without window attention has a mixing layer in its place."""

_MIXER = "blocks.0.pconvs.0.plk."
"""The first mixing layer's own tensors."""

_SHARED_KERNEL = "plk_filter"


def entry(state: State) -> str:
    """Name the convolution that the picture enters by: the second step where the first unshuffles it."""
    return "proj.1.weight" if "proj.1.weight" in state else "proj.weight"


def block_widths(state: State) -> dict[str, Any]:
    """Give the widths that every architecture of ESC's blocks has."""
    return {
        "dim": state[entry(state)].shape[0],
        "blocks": count(state, r"blocks\.(\d+)\."),
        "mixers": count(state, r"blocks\.0\.pconvs\.(\d+)\."),
        "first_hidden_dim": state["blocks.0.proj.proj.weight"].shape[0],
        "hidden_dim": state["blocks.0.convffns.0.proj.weight"].shape[0],
    }


def esc_widths(state: State) -> dict[str, Any]:
    """Give all widths of a network with ESC's blocks, its mixer among them, but no scale and no head."""
    widths = block_widths(state) | mixer_widths(state) | {"inner_norm": has_inner_norm(state)}
    return widths | (factor_widths(state) if FACTORS in state else table_widths(state))


def kernel_widths(large_kernel: Tensor) -> dict[str, Any]:
    """Give the widths of a large kernel."""
    return {"partial_dim": large_kernel.shape[0], "kernel_size": large_kernel.shape[-1]}


def table_widths(state: State) -> dict[str, Any]:
    """Give heads and window of attention with a table of biases, or of none."""
    if UNATTENDED in state:
        return {"heads": 0, "window_size": 1}
    heads, positions = state[TABLE].shape
    return {"heads": heads, "window_size": (exact_root(positions) + 1) // 2}


def factor_widths(state: State) -> dict[str, Any]:
    """Give heads, window and rank of attention with factors of a bias."""
    heads, tokens, bias_rank = state[FACTORS].shape
    return {"heads": heads, "window_size": exact_root(tokens), "bias_rank": bias_rank}


def has_inner_norm(state: State) -> bool:
    """Whether the mixing layers begin with a layer normalisation."""
    return "blocks.0.lns.0.weight" in state


def mixer_widths(state: State) -> dict[str, Any]:
    """Give the mixer and its widths, as ``ESCConfig`` calls them.

    The number of MiLK's kernels is not looked at: in an ESC network it is always 8. A network with window
    attention in its mixing layers has no kernel, and so no kernel size.

    Raises:
        KeyError: There is no tensor of any mixer.
    """
    first = {key.removeprefix(_MIXER): value for key, value in state.items() if key.startswith(_MIXER)}
    if "lk_bases" in first:
        return _mixer("milk", first["fuse.bias"], first["lk_bases"].shape[-1])
    if "difference_control" in first:
        return _mixer("atconv", first["difference_control"], math.isqrt(len(first["kernel_gen.bias"])))
    if "attn.to_out.bias" in first:
        return _mixer("window", first["attn.to_out.bias"])
    large = first[_SHARED_KERNEL] if _SHARED_KERNEL in first else state[_SHARED_KERNEL]
    name = "convolutional" if "dwc_proj.1.weight" in first else "static"
    return _mixer(name, large, large.shape[-1]) | {"shared_kernel": _SHARED_KERNEL not in first}


def _mixer(name: str, of_channels: Tensor, kernel_size: int | None = None) -> dict[str, Any]:
    widths = {"mixer": name, "partial_dim": len(of_channels)}
    return widths if kernel_size is None else widths | {"kernel_size": kernel_size}


def pixel_shuffle_scale(head: Tensor) -> int:
    """Give the scale of a head that is one convolution before a pixel shuffle."""
    return exact_root(head.shape[0] // 3)


def count(state: State, pattern: str) -> int:
    """Count the modules whose numbers the pattern finds at the beginning of keys."""
    matches = (re.match(pattern, key) for key in state)
    return 1 + max(int(match[1]) for match in matches if match)


def exact_root(square: int) -> int:
    """Give the square root.

    Raises:
        ValueError: It is no whole number.
    """
    root = math.isqrt(square)
    if root * root != square:
        raise ValueError(f"{square} is no square number")
    return root
