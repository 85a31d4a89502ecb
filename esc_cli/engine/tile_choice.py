"""How large the tiles of a picture shall be: what the user asked for, or what fits in memory."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch

from esc_cli.engine.footprint import needed_bytes
from esc_cli.engine.tiled import TileSizes
from esc_cli.engine.tiles import round_up
from esc_cli.errors import OutOfMemoryError, UsageError
from esc_cli.networks.variants import NetworkConfig

Tiling = Literal["auto", "exact", "overlap", "none"]

# Tiles of 128 and 160 pixels against the whole of 224x224 and 256x256 crops of Set14's barbara: PSNR, and
# the largest difference in steps of 8 bits. Overlaps are multiples of the window, so 16 would be 32 as well.
#
#   overlap   ESC-light x2 after 1000 training steps   ESC x4 with random weights
#         0              58.3 dB   16.33                       24.2 dB   255
#        32              91.7 dB    0.13                       42.9 dB    25
#        64              99.5 dB    0.07                       51.6 dB    11
#        96             104.6 dB    0.04                       57.6 dB     6
#
# ESC-light x4 as shipped on a photo of 1000x700, tiles of 128: 72.5 dB and 11.1 at an overlap of 32 (the
# largest at a single edge; 1.7 % of the 8-bit values differ at all), 75.7 dB and 3.1 at 64 for 2.5 times the
# work. No seam can be seen at either, not even in the difference enlarged 64 times.
DEFAULT_OVERLAP_PX = 32

LARGEST_CHOSEN_PX = 512
"""Larger tiles are not chosen where tiles are asked for without a size."""

USABLE_SHARE = 0.7
"""Of the free memory: other programs live too, and the allocator leaves gaps."""


@dataclass(frozen=True)
class TilingRequest:
    """What the user wants, on the grid of a network's windows.

    Attributes:
        mode: ``auto`` (whole if it fits, else tiles), ``overlap`` (tiles) or ``none`` (whole).
        tile_px: Longest side of a tile; None: as memory allows.
        overlap_px: What neighbours share at least.
        smallest_px: Longest side of the smallest tile: a window and the overlap.
    """

    mode: Tiling
    tile_px: int | None
    overlap_px: int
    smallest_px: int


@dataclass(frozen=True)
class Work:
    """One picture, or several of one size, for one network.

    Attributes:
        config: Of the network.
        dtype: Of its weights and features.
        batch: Pictures at once.
        height: Of the padded input, pixels.
        width: Of the padded input, pixels.
    """

    config: NetworkConfig
    dtype: torch.dtype
    batch: int
    height: int
    width: int

    @property
    def longest_px(self) -> int:
        """The longer side."""
        return max(self.height, self.width)

    def bytes_in_tiles(self, tile_px: int) -> int:
        """Estimate the peak memory of the work when it is done in tiles of a size."""
        height, width = min(tile_px, self.height), min(tile_px, self.width)
        return needed_bytes(self.config, height, width, self.dtype, self.batch)


def tiling_request(
    mode: Tiling, tile_px: int | None, overlap_px: int | None, window_px: int
) -> TilingRequest:
    """Check what the user asked for, and round it up to a network's windows.

    Raises:
        UsageError: It is unknown, not available yet, contradictory or impossible.
    """
    _check_mode(mode, tile_px, overlap_px)
    overlap_px = round_up(DEFAULT_OVERLAP_PX if overlap_px is None else overlap_px, window_px)
    smallest_px = overlap_px + window_px
    tile_px = None if tile_px is None else round_up(tile_px, window_px)
    if tile_px is not None and tile_px < smallest_px:
        raise UsageError(
            f"a tile of {tile_px} pixels leaves nothing beside an overlap of {overlap_px} pixels",
            hint=f"this model works in windows of {window_px} pixels, so a tile needs {smallest_px}",
        )
    return TilingRequest(mode, tile_px, overlap_px, smallest_px)


def choose_tile_sizes(request: TilingRequest, work: Work, free_bytes: int, strict: bool) -> TileSizes:
    """Choose the tiles of a picture.

    Args:
        request: What is wanted.
        work: What is to be done.
        free_bytes: Memory that is left for it.
        strict: Whether a size that was asked for and looks too large is refused here: where running out of
            memory ends the process instead of raising an error.

    Raises:
        OutOfMemoryError: Not even the smallest tile fits, or what was asked for does not.
    """
    asked_px = work.longest_px if request.mode == "none" else request.tile_px
    if asked_px is not None:
        needed = work.bytes_in_tiles(asked_px)
        if strict and needed > free_bytes:
            raise _too_large(needed, free_bytes)
        smallest_px = asked_px if request.mode == "none" else request.smallest_px
        return TileSizes(asked_px, smallest_px, request.overlap_px)
    budget = int(free_bytes * USABLE_SHARE)
    whole = request.mode == "auto" and work.bytes_in_tiles(work.longest_px) <= budget
    largest_px = work.longest_px if whole else _largest_tile_px(request, work, budget)
    return TileSizes(largest_px, request.smallest_px, request.overlap_px)


def _check_mode(mode: Tiling, tile_px: int | None, overlap_px: int | None) -> None:
    if mode not in get_args(Tiling):
        raise UsageError(f"there is no tiling {mode!r}", hint=f"one of {', '.join(get_args(Tiling))}")
    if mode == "exact":
        raise UsageError("exact tiling is not available yet", hint="use auto, overlap or none")
    if mode == "none" and (tile_px is not None or overlap_px is not None):
        raise UsageError("without tiling there is no tile and no overlap to give a size to")
    if tile_px is not None and tile_px < 1:
        raise UsageError(f"a tile must be at least one pixel long, not {tile_px}")
    if overlap_px is not None and overlap_px < 0:
        raise UsageError(f"an overlap cannot be {overlap_px} pixels")


def _largest_tile_px(request: TilingRequest, work: Work, budget_bytes: int) -> int:
    window_px = work.config.window_size
    largest_px = max(round_up(LARGEST_CHOSEN_PX, window_px), request.smallest_px)
    for tile_px in range(largest_px, request.smallest_px - 1, -window_px):
        if work.bytes_in_tiles(tile_px) <= budget_bytes:
            return tile_px
    raise _too_large(work.bytes_in_tiles(request.smallest_px), budget_bytes)


def _too_large(needed_bytes: int, free_bytes: int) -> OutOfMemoryError:
    needed_mb, free_mb = (count // 2**20 for count in (needed_bytes, free_bytes))
    return OutOfMemoryError(
        f"a piece of this picture needs about {needed_mb} MB of memory, and {max(free_mb, 0)} MB may be used",
        hint="take smaller tiles or a smaller model, or close what else uses the memory",
    )
