"""How much memory one run of a network takes at most, from its widths."""

from dataclasses import dataclass, replace

import torch

from esc_cli.engine.streaming import least_rows, strip_rows
from esc_cli.networks.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.esc_real import ESCRealConfig
from esc_cli.networks.esc_real_m import ESCRealMConfig, inner_config
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
#   the same, neosr's head            304          914   50.9, that is 3.2
#   ESCRealM x4, nearest+conv         299          931   52.7, that is 3.3
#   ESCRealM x4, pixelshuffle         226          579   29.4, that is 1.8
#   ESCRealM x4, transpose+conv       161          325   13.7, that is 0.9
#
#   network, float32            at 96x96   at 192x192
#   ESC-XL x4                         607          906   14.8
#
# The numbers below are the largest of these and a quarter.
_BODY_MAPS = 18.5
_REAL_HEAD_MAPS = {
    "nearest": 3.3,
    "neosr": 4.0,
    "dysample": 4.6,
    "conv": 0.0,
    "pixelshuffledirect": 0.0,
    "pixelshuffle": 2.3,
    "nearest+conv": 4.1,
    "transpose+conv": 1.1,
}
"""Maps of ``dim`` channels alive at once: in the body at low, in ESC-Real's heads at high resolution."""

_FACTORISED = (ESCRIBConfig, ESCFlashBiasConfig, ESCRealFlashBiasConfig)
"""Networks that have factors of a bias, where others have one for each pair of positions."""

_RESULT_MAPS = 2
"""The picture at high resolution, and what its conversion takes."""

_FIXED_BYTES = {"torch": 256 * 2**20, "openvino": 512 * 2**20}
"""What does not grow with the picture: code, kernels made at run time, their scratch space; OpenVINO's graph,
too, of ESC 489 MB with a picture of 128x128 in float32 and 543 in bfloat16."""

_SCORE_MAPS = 3
"""Matrices of scores alive at once in ``naive`` attention; measured 2.2, on ESC at 192x192."""


@dataclass(frozen=True)
class Work:
    """One picture, or several of one size, for one network.

    Attributes:
        config: Of the network.
        dtype: Of its weights and features.
        attention: The backend of its window attention.
        batch: Pictures at once.
        height: Of the padded input, pixels.
        width: Of the padded input, pixels.
        runtime: What runs it, ``torch`` or ``openvino``.
    """

    config: NetworkConfig
    dtype: torch.dtype
    attention: str
    batch: int
    height: int
    width: int
    runtime: str = "torch"

    @property
    def area_px(self) -> int:
        """Pixels of all pictures."""
        return self.batch * self.height * self.width

    def bytes_whole(self) -> int:
        """Estimate the peak memory of one run, its result included: a quarter above what was measured."""
        inner = self._inside()
        body = inner.area_px * _values_per_pixel(inner.config) * self.dtype.itemsize
        scores = _score_bytes(inner, inner.area_px) if self.attention == "naive" else 0
        return _FIXED_BYTES[self.runtime] + _bias_bytes(inner) + body + scores

    def bytes_in_tiles(self, tile_px: int) -> int:
        """Estimate the peak memory of the largest tile, where tiles are at most so many pixels long."""
        tile = replace(self, height=min(tile_px, self.height), width=min(tile_px, self.width))
        return tile.bytes_whole()

    def bytes_streamed(self) -> int:
        """Estimate the peak memory of an exact run: its feature maps, and a strip as if that were a picture.

        The result is not included: it is handed out strip by strip.
        """
        inner = self._inside()
        held = (self.area_px * 3 + inner.area_px * _held_channels(inner.config)) * self.dtype.itemsize
        window_px = self.config.window_size  # also where strips are of the unshuffled picture
        strip = replace(inner, height=min(inner.height, strip_rows(window_px)), attention="sdpa")
        needed = held + strip.bytes_whole()
        if self.attention == "naive":
            attended = self.batch * min(inner.height, least_rows(window_px)) * inner.width
            needed += _score_bytes(inner, attended) + _bias_bytes(inner)
        return needed

    def _inside(self) -> "Work":
        """Give the same work as the body of the network sees it: of a picture that may be unshuffled."""
        config = self.config
        if not isinstance(config, ESCRealMConfig):
            return self
        height, width = (-(-side // config.unshuffle) for side in (self.height, self.width))
        return replace(self, config=inner_config(config), height=height, width=width)


def _held_channels(config: NetworkConfig) -> int:
    """Count the channels of the feature maps that an exact run holds at once.

    A block's input, the inner residual, and what a mixer pools over; in ESC-RIB's blocks at another time what
    was attended.
    """
    if isinstance(config, InterpolationConfig):
        return 0
    return 2 * config.dim + (config.dim if isinstance(config, ESCRIBConfig) else config.partial_dim)


def _values_per_pixel(config: NetworkConfig) -> int:
    """Count the numbers alive at once for each low-resolution pixel."""
    result = _RESULT_MAPS * 3 * config.scale**2
    if isinstance(config, InterpolationConfig):
        return result
    maps = _BODY_MAPS
    if isinstance(config, ESCRealConfig | ESCRealMConfig):
        maps = max(maps, _REAL_HEAD_MAPS[config.head] * config.scale**2)
    return result + round(maps * config.dim)


def _score_bytes(work: Work, attended_px: int) -> int:
    """Give the size of the scores of all pairs of tokens, which naive attention holds for all windows."""
    config = work.config
    if isinstance(config, InterpolationConfig):
        return 0
    return int(_SCORE_MAPS * config.heads * config.window_size**2 * attended_px * work.dtype.itemsize)


def _bias_bytes(work: Work) -> int:
    """Give the size of the attention biases: those that are kept, and twice the one being gathered."""
    config = work.config
    if isinstance(config, InterpolationConfig):
        return 0
    if isinstance(config, _FACTORISED) and work.attention != "naive":
        return 0
    one = int(config.heads * config.window_size**4 * work.dtype.itemsize)
    kept = config.blocks if one <= LARGEST_CACHED_BYTES else 0
    return (kept + 2) * one
