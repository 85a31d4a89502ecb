"""How much memory one run of a network takes at most, from its widths."""

import torch

from esc_cli.engine.streaming import MAPS, strip_rows
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

_WITHOUT_TABLE = (InterpolationConfig, ESCRIBConfig, ESCFlashBiasConfig, ESCRealFlashBiasConfig)
"""Networks that have no bias for each pair of positions: none, or factors of it."""

_RESULT_MAPS = 2
"""The picture at high resolution, and what its conversion takes."""

_FIXED_BYTES = 256 * 2**20
"""What does not grow with the picture: code, kernels made at run time, their scratch space."""


def needed_bytes(config: NetworkConfig, height: int, width: int, dtype: torch.dtype, batch: int = 1) -> int:
    """Estimate the peak memory of one run, its result included: a quarter above what was measured, or more.

    Args:
        config: Of the network.
        height: Of the input, pixels.
        width: Of the input, pixels.
        dtype: Of weights and features.
        batch: Pictures at once.
    """
    values = batch * height * width * _values_per_pixel(config)
    return _FIXED_BYTES + _bias_bytes(config, dtype) + values * dtype.itemsize


def streamed_bytes(config: NetworkConfig, height: int, width: int, dtype: torch.dtype, batch: int = 1) -> int:
    """Estimate the peak memory of an exact run: its feature maps, and a strip as if that were a picture.

    The result is not included: it is handed out strip by strip.

    Args:
        config: Of the network.
        height: Of the input, pixels.
        width: Of the input, pixels.
        dtype: Of weights and features.
        batch: Pictures at once.
    """
    if isinstance(config, InterpolationConfig):
        maps = 0
    else:
        maps = batch * height * width * MAPS * config.dim * dtype.itemsize
    rows = min(height, strip_rows(config.window_size))
    return maps + needed_bytes(config, rows, width, dtype, batch)


def _values_per_pixel(config: NetworkConfig) -> int:
    """Count the numbers alive at once for each low-resolution pixel."""
    result = _RESULT_MAPS * 3 * config.scale**2
    if isinstance(config, InterpolationConfig):
        return result
    maps = _BODY_MAPS
    if isinstance(config, ESCRealConfig):
        maps = max(maps, _REAL_HEAD_MAPS[config.head] * config.scale**2)
    return result + round(maps * config.dim)


def _bias_bytes(config: NetworkConfig, dtype: torch.dtype) -> int:
    """Give the size of the attention biases: those that are kept, and twice the one being gathered."""
    if isinstance(config, _WITHOUT_TABLE):
        return 0
    one = int(config.heads * config.window_size**4 * dtype.itemsize)
    kept = config.blocks if one <= LARGEST_CACHED_BYTES else 0
    return (kept + 2) * one
