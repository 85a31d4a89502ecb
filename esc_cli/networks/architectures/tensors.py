"""Read the widths of ESC's parts from the shapes of their tensors.

Source: the state-dict keys of the published ESC code.
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
"""Key of the mixing layer that a network without window attention has in its place."""

_MIXER = "blocks.0.pconvs.0.plk."
"""Prefix of the keys of the first mixing layer's own tensors."""

_SHARED_KERNEL = "plk_filter"


def entry(state: State) -> str:
    """Return the key of the first convolution, which is the second step if the first step unshuffles."""
    return "proj.1.weight" if "proj.1.weight" in state else "proj.weight"


def block_widths(state: State) -> dict[str, Any]:
    """Return the widths that every architecture made of ESC's blocks has."""
    return {
        "dim": state[entry(state)].shape[0],
        "blocks": count(state, r"blocks\.(\d+)\."),
        "mixers": count(state, r"blocks\.0\.pconvs\.(\d+)\."),
        "first_hidden_dim": state["blocks.0.proj.proj.weight"].shape[0],
        "hidden_dim": state["blocks.0.convffns.0.proj.weight"].shape[0],
    }


def esc_widths(state: State) -> dict[str, Any]:
    """Return all widths of a network made of ESC's blocks, and its mixer, but not its scale and its head."""
    widths = block_widths(state) | _mixer_widths(state) | {"inner_norm": has_inner_norm(state)}
    return widths | (_factor_widths(state) if FACTORS in state else table_widths(state))


def kernel_widths(large_kernel: Tensor) -> dict[str, Any]:
    """Return the widths of a large kernel."""
    return {"partial_dim": large_kernel.shape[0], "kernel_size": large_kernel.shape[-1]}


def table_widths(state: State) -> dict[str, Any]:
    """Return the heads and the window size of attention with a table of biases, or of no attention."""
    if UNATTENDED in state:
        return {"heads": 0, "window_size": 1}
    heads, positions = state[TABLE].shape
    return {"heads": heads, "window_size": (exact_root(positions) + 1) // 2}


def _factor_widths(state: State) -> dict[str, Any]:
    """Return the heads, the window size and the rank of attention with a factorized bias."""
    heads, tokens, bias_rank = state[FACTORS].shape
    return {"heads": heads, "window_size": exact_root(tokens), "bias_rank": bias_rank}


def has_inner_norm(state: State) -> bool:
    """Return whether the mixing layers begin with a layer normalization."""
    return "blocks.0.lns.0.weight" in state


def _mixer_widths(state: State) -> dict[str, Any]:
    """Return the mixer and its widths, by their names in ``ESCConfig``.

    The number of MiLK's kernels is not read, because it is always 8 in an ESC network. A network with window
    attention in its mixing layers has no large kernel and therefore no kernel size.

    Raises:
        KeyError: There is no tensor of any mixer.
    """
    first = {key.removeprefix(_MIXER): value for key, value in state.items() if key.startswith(_MIXER)}
    if "lk_bases" in first:
        return _mixer("milk", first["fuse.bias"], first["lk_bases"].shape[-1])
    if "difference_control" in first:
        return _mixer("atconv", first["difference_control"], math.isqrt(first["kernel_gen.bias"].shape[0]))
    if "attn.to_out.bias" in first:
        return _mixer("window", first["attn.to_out.bias"])
    large = first[_SHARED_KERNEL] if _SHARED_KERNEL in first else state[_SHARED_KERNEL]
    name = "convolutional" if "dwc_proj.1.weight" in first else "static"
    return _mixer(name, large, large.shape[-1]) | {"shared_kernel": _SHARED_KERNEL not in first}


def _mixer(name: str, of_channels: Tensor, kernel_size: int | None = None) -> dict[str, Any]:
    widths = {"mixer": name, "partial_dim": of_channels.shape[0]}
    return widths if kernel_size is None else widths | {"kernel_size": kernel_size}


def pixel_shuffle_scale(head: Tensor) -> int:
    """Return the scale of a head that is one convolution before a pixel shuffle."""
    return exact_root(head.shape[0] // 3)


def count(state: State, pattern: str) -> int:
    """Count the modules whose numbers ``pattern`` matches at the beginning of the keys.

    Raises:
        ValueError: A number is missing.
    """
    found = numbers(state, pattern)
    if found != set(range(len(found))):
        raise ValueError(f"{len(found)} modules of one kind are numbered up to {max(found)}")
    return len(found)


def numbers(state: State, pattern: str) -> set[int]:
    """Return the numbers that ``pattern`` matches at the beginning of the keys."""
    matches = (re.match(pattern, key) for key in state)
    return {int(match[1]) for match in matches if match}


def exact_root(square: int) -> int:
    """Return the square root of a square number.

    Raises:
        ValueError: The root is not an integer.
    """
    root = math.isqrt(square)
    if root * root != square:
        raise ValueError(f"{square} is not a square number")
    return root
