"""How much memory one run of a network takes at most, from its widths."""

import torch

from esc_cli.engine.streaming import MAPS, least_rows, strip_rows
from esc_cli.networks.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.esc_real import ESCRealConfig
from esc_cli.networks.esc_rib import ESCRIBConfig
from esc_cli.networks.interpolation import InterpolationConfig
from esc_cli.networks.position_bias import LARGEST_CACHED_BYTES
from esc_cli.networks.variants import NetworkConfig

# Peak of resident memory over a whole forward pass in a fresh process (two threads, fused attention, the
# attention biases included), torch 2.13 on an x86-64 CPU, MB:
#
#   network x4, float32    at 256x256   at 512x512   maps of dim channels per added pixel
#   ESC-light                     387         1011   13.0
#   ESC                           463         1075   12.8
#   ESC-FP                        436          798   10.1
#   ESC-light, bfloat16           219          508   12.0
#
#   network, float32          at 128x128   at 256x256
#   ESC-Real x4, nearest              436          944   42.3, that is 2.6 at high resolution
#   ESC-Real x4, DySample             379         1087   59.0, that is 3.7 at high resolution
#
#   network, float32            at 96x96   at 192x192
#   ESC-XL x4                         607          906   14.8
#
# The numbers below are the largest of these and a quarter.
_BODY_MAPS = 18.5
_REAL_HEAD_MAPS = {"nearest": 3.3, "dysample": 4.6}
"""Maps of ``dim`` channels alive at once: in the body at low, in ESC-Real's head at high resolution."""

_FACTORISED = (ESCRIBConfig, ESCFlashBiasConfig, ESCRealFlashBiasConfig)
"""Networks that have factors of a bias, where others have one for each pair of positions."""

_RESULT_MAPS = 2
"""The picture at high resolution, and what its conversion takes."""

_FIXED_BYTES = 256 * 2**20
"""What does not grow with the picture: code, kernels made at run time, their scratch space."""


_SCORE_MAPS = 3
"""Matrices of scores alive at once in ``naive`` attention; measured 2.2, on ESC at 192x192."""


def needed_bytes(
    config: NetworkConfig,
    height: int,
    width: int,
    dtype: torch.dtype,
    batch: int = 1,
    attention: str = "sdpa",
) -> int:
    """Estimate the peak memory of one run, its result included: a quarter above what was measured, or more.

    Args:
        config: Of the network.
        height: Of the input, pixels.
        width: Of the input, pixels.
        dtype: Of weights and features.
        batch: Pictures at once.
        attention: Its backend.
    """
    body = batch * height * width * _values_per_pixel(config) * dtype.itemsize
    scores = _score_bytes(config, batch * height * width, dtype) if attention == "naive" else 0
    return _FIXED_BYTES + _bias_bytes(config, dtype, attention) + body + scores


def streamed_bytes(
    config: NetworkConfig,
    height: int,
    width: int,
    dtype: torch.dtype,
    batch: int = 1,
    attention: str = "sdpa",
) -> int:
    """Estimate the peak memory of an exact run: its feature maps, and a strip as if that were a picture.

    The result is not included: it is handed out strip by strip.

    Args:
        config: Of the network.
        height: Of the input, pixels.
        width: Of the input, pixels.
        dtype: Of weights and features.
        batch: Pictures at once.
        attention: Its backend.
    """
    dim = 0 if isinstance(config, InterpolationConfig) else config.dim
    held = batch * height * width * (3 + MAPS * dim) * dtype.itemsize
    rows = min(height, strip_rows(config.window_size))
    strip = needed_bytes(config, rows, width, dtype, batch)
    if attention == "naive":
        attended = batch * min(height, least_rows(config.window_size)) * width
        strip += _score_bytes(config, attended, dtype) + _bias_bytes(config, dtype, attention)
    return held + strip


def _values_per_pixel(config: NetworkConfig) -> int:
    """Count the numbers alive at once for each low-resolution pixel."""
    result = _RESULT_MAPS * 3 * config.scale**2
    if isinstance(config, InterpolationConfig):
        return result
    maps = _BODY_MAPS
    if isinstance(config, ESCRealConfig):
        maps = max(maps, _REAL_HEAD_MAPS[config.head] * config.scale**2)
    return result + round(maps * config.dim)


def _score_bytes(config: NetworkConfig, attended_px: int, dtype: torch.dtype) -> int:
    """Give the size of the scores of all pairs of tokens, which naive attention holds for all windows."""
    if isinstance(config, InterpolationConfig):
        return 0
    return int(_SCORE_MAPS * config.heads * config.window_size**2 * attended_px * dtype.itemsize)


def _bias_bytes(config: NetworkConfig, dtype: torch.dtype, attention: str) -> int:
    """Give the size of the attention biases: those that are kept, and twice the one being gathered."""
    if isinstance(config, InterpolationConfig):
        return 0
    if isinstance(config, _FACTORISED) and attention != "naive":
        return 0
    one = int(config.heads * config.window_size**4 * dtype.itemsize)
    kept = config.blocks if one <= LARGEST_CACHED_BYTES else 0
    return (kept + 2) * one
