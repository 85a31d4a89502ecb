"""Estimate the peak memory of one run of a network from the network's widths."""

import math
from dataclasses import dataclass, replace

import torch

from esc_cli.engine.executors.base import Runtime
from esc_cli.engine.tiling.streaming import highest_strip_rows, least_rows
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.attention.position_bias import LARGEST_CACHED_BYTES
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

_RESULT_MAPS = 2
"""Number of high-resolution pictures in memory at once: the result, and one for its conversion."""

_SCORE_MAPS = 3
"""Number of score matrices in memory at once in ``naive`` attention (measured: 2.2, on ESC at 192x192)."""


@dataclass(frozen=True)
class Work:
    """One picture, or several pictures of one size, to run through one network.

    Attributes:
        config: Configuration of the network.
        dtype: Type of the network's weights and features.
        attention: Backend of the network's window attention.
        batch: Number of pictures that run at once.
        height: Height of the padded input, in pixels.
        width: Width of the padded input, in pixels.
        runtime: Runtime that runs the network.
    """

    config: NetworkConfig
    dtype: torch.dtype
    attention: str
    batch: int
    height: int
    width: int
    runtime: Runtime

    @property
    def can_stream(self) -> bool:
        """Whether the pictures can be run in exact strips."""
        return self.runtime.streams and not self.config.opaque

    @property
    def area_px(self) -> int:
        """Number of pixels of all pictures."""
        return self.batch * self.height * self.width

    @property
    def stores_scores(self) -> bool:
        """Whether the attention backend stores all scores. A runtime's own attention does not."""
        backend = ATTENTION_BACKENDS.get(self.attention)
        return backend is not None and backend.stores_scores

    def bytes_whole(self) -> int:
        """Estimate the peak memory of one run, including its result, as a quarter above measured values."""
        inner = self._inside()
        memory = inner.config.memory()
        values = memory.values_per_pixel + _RESULT_MAPS * 3 * inner.config.scale**2
        values += math.ceil(memory.values_per_square * inner.area_px)
        needed = self.runtime.fixed_bytes + inner.area_px * values * self.dtype.itemsize
        if self.stores_scores:
            needed += _score_bytes(inner, inner.area_px)
        return needed + _bias_bytes(inner)

    def bytes_in_tiles(self, tile_px: int) -> int:
        """Estimate the peak memory of the largest tile, if tiles are at most ``tile_px`` long."""
        tile = replace(self, height=min(tile_px, self.height), width=min(tile_px, self.width))
        return tile.bytes_whole()

    def bytes_streamed(self) -> int:
        """Estimate the peak memory of an exact run: its feature maps, and a strip estimated like a picture.

        The result is not included, because it is emitted strip by strip.
        """
        inner = self._inside()
        held = self.area_px * 3 + inner.area_px * inner.config.memory().held_channels
        window_px = self.config.window_size  # even if the strips are cut from an unshuffled picture
        strip = replace(inner, height=min(inner.height, highest_strip_rows(window_px)), attention="sdpa")
        needed = held * self.dtype.itemsize + strip.bytes_whole()
        if self.stores_scores:
            attended = self.batch * min(inner.height, least_rows(window_px)) * inner.width
            needed += _score_bytes(inner, attended) + _bias_bytes(inner)
        return needed

    def _inside(self) -> "Work":
        """Return this work as the network's body sees it, whose input may be an unshuffled picture."""
        factor = self.config.body_factor
        height, width = (-(-side // factor) for side in (self.height, self.width))
        return replace(self, config=self.config.body(), height=height, width=width)


def _score_bytes(work: Work, attended_px: int) -> int:
    """Return the size of the scores of all pairs of tokens, which are held for all windows."""
    return _SCORE_MAPS * work.config.memory().scores_per_pixel * attended_px * work.dtype.itemsize


def _bias_bytes(work: Work) -> int:
    """Return the size of the attention biases: the cached ones, and twice the one being gathered."""
    memory = work.config.memory()
    if memory.learned_factors and not work.stores_scores:
        return 0
    one = memory.bias_values * work.dtype.itemsize
    kept = memory.bias_layers if one <= LARGEST_CACHED_BYTES else 0
    return (kept + 2) * one
