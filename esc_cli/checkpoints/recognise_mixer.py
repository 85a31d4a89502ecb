"""Recognise what mixes in the mixing layers of an ESC network, from the shapes of its tensors."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

_LAYER = "blocks.0.pconvs.0.plk."
"""The first mixing layer's own tensors."""

_SHARED = "plk_filter"


def mixer_widths(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Give the mixer and its widths, as ``ESCConfig`` calls them.

    The number of MiLK's kernels is not looked at: in an ESC network it is always 8. A network with window
    attention in its mixing layers has no kernel, and so no kernel size.

    Raises:
        KeyError: There is no tensor of any mixer.
    """
    first = {key.removeprefix(_LAYER): value for key, value in state.items() if key.startswith(_LAYER)}
    if "lk_bases" in first:
        return _widths("milk", first["fuse.bias"], first["lk_bases"].shape[-1])
    if "difference_control" in first:
        return _widths("atconv", first["difference_control"], math.isqrt(len(first["kernel_gen.bias"])))
    if "attn.to_out.bias" in first:
        return _widths("window", first["attn.to_out.bias"])
    large = first[_SHARED] if _SHARED in first else state[_SHARED]
    name = "convolutional" if "dwc_proj.1.weight" in first else "static"
    return _widths(name, large, large.shape[-1]) | {"shared_kernel": _SHARED not in first}


def _widths(name: str, of_channels: Tensor, kernel_size: int | None = None) -> dict[str, Any]:
    widths = {"mixer": name, "partial_dim": len(of_channels)}
    return widths if kernel_size is None else widths | {"kernel_size": kernel_size}
