"""Choose how a picture runs through a network: as the user asked, or in the best way that fits in memory."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from esc_cli.engine.memory.footprint import Work
from esc_cli.engine.tiling.tiled import TileSizes
from esc_cli.engine.tiling.tiles import round_up
from esc_cli.errors import OutOfMemoryError, UsageError

Mode = Literal["exact", "overlap", "none"]
Tiling = Literal["auto", "exact", "overlap", "none"]

# The results of tiles of 128 and 160 pixels were compared with those of the whole picture, on 224x224 and
# 256x256 crops of Set14's barbara. The columns are PSNR and the largest difference in 8-bit steps. Overlaps
# are multiples of the window, so an overlap of 16 would become 32.
#
#   overlap   ESC-light x2 after 1000 training steps   ESC x4 with random weights
#         0              58.3 dB   16.33                       24.2 dB   255
#        32              91.7 dB    0.13                       42.9 dB    25
#        64              99.5 dB    0.07                       51.6 dB    11
#        96             104.6 dB    0.04                       57.6 dB     6
#
# The shipped ESC-light x4, on a photo of 1000x700 in tiles of 128, gives 72.5 dB and 11.1 at an overlap of 32
# (the largest difference is at a single edge, and 1.7 % of the 8-bit values differ at all). At an overlap of
# 64 it gives 75.7 dB and 3.1, for 2.5 times the work. No seam is visible at either overlap, not even in the
# difference amplified 64 times.
DEFAULT_OVERLAP_PX = 32

LARGEST_CHOSEN_PX = 512
"""Largest tile size that is chosen automatically."""

USABLE_SHARE = 0.7
"""Share of the free memory to use: other programs need memory too, and the allocator leaves gaps."""

WHOLE_ON_CPU_PX = 160 * 160
"""Largest area for which strips gain nothing on a CPU.

Larger pictures are faster in strips, which stay in the CPU's caches.
"""


@dataclass(frozen=True)
class TilingRequest:
    """A user's request, rounded up to the grid of a network's windows.

    Attributes:
        mode: ``auto`` (the best way that fits), ``exact`` (strips), ``overlap`` (tiles) or ``none`` (whole).
        tile_px: Longest side of a tile. None means as large as memory allows.
        overlap_px: Smallest overlap of neighboring tiles.
        smallest_px: Longest side of the smallest tile: a window plus the overlap.
    """

    mode: Tiling
    tile_px: int | None
    overlap_px: int
    smallest_px: int


@dataclass(frozen=True)
class Way:
    """One way of running a network over a picture.

    Attributes:
        mode: ``none``, ``exact`` or ``overlap``.
        needed_bytes: Estimated peak memory.
        sizes: Sizes of the tiles, for ``overlap`` only.
    """

    mode: Mode
    needed_bytes: int
    sizes: TileSizes | None = None


def tiling_request(
    mode: Tiling, tile_px: int | None, overlap_px: int | None, window_px: int
) -> TilingRequest:
    """Check a user's request and round its sizes up to multiples of a network's window.

    ``auto`` with a tile size means ``overlap``.

    Raises:
        UsageError: The request is unknown, contradictory or impossible.
    """
    _check_mode(mode, tile_px, overlap_px)
    if mode == "auto" and tile_px is not None:
        mode = "overlap"
    overlap_px = round_up(DEFAULT_OVERLAP_PX if overlap_px is None else overlap_px, window_px)
    smallest_px = overlap_px + window_px
    tile_px = None if tile_px is None else round_up(tile_px, window_px)
    if tile_px is not None and tile_px < smallest_px:
        raise UsageError(
            f"a tile of {tile_px} pixels is too small for an overlap of {overlap_px} pixels",
            hint=f"choose a tile of at least {smallest_px} pixels, since windows have {window_px} pixels",
        )
    return TilingRequest(mode, tile_px, overlap_px, smallest_px)


def choose_ways(request: TilingRequest, work: Work, free_bytes: int, on_cpu: bool) -> tuple[Way, ...]:
    """Choose how to run a picture.

    Args:
        request: The user's request.
        work: The work to do.
        free_bytes: Free memory.
        on_cpu: Whether the network runs on the CPU. There, running out of memory ends the process instead of
            raising an error, so a requested way that looks too large is refused.

    Returns:
        The way to take, followed by the fallbacks if memory still runs out.

    Raises:
        OutOfMemoryError: No way that the request allows fits in memory.
    """
    if request.mode == "auto":
        return tuple(_automatic_ways(request, work, int(free_bytes * USABLE_SHARE), on_cpu))
    way = _requested_way(request, work, int(free_bytes * USABLE_SHARE))
    if on_cpu and way.needed_bytes > free_bytes:
        raise _too_large(way.needed_bytes, free_bytes)
    return (way,)


def fits_whole(request: TilingRequest, work: Work, free_bytes: int) -> bool:
    """Return whether the request and the memory allow running a picture whole."""
    return request.mode in ("auto", "none") and work.bytes_whole() <= free_bytes * USABLE_SHARE


def _automatic_ways(request: TilingRequest, work: Work, budget_bytes: int, on_cpu: bool) -> Iterator[Way]:
    """Yield the ways that fit: the whole picture if that is at least as fast, exact strips, then tiles."""
    whole, exact = Way("none", work.bytes_whole()), Way("exact", work.bytes_streamed())
    if work.config.tiling == "internal":  # the network bounds its memory itself
        yield whole
        return
    if not work.can_stream or exact.needed_bytes >= whole.needed_bytes:
        fast = [whole]
    elif on_cpu and work.area_px > WHOLE_ON_CPU_PX:
        fast = [exact]
    else:
        fast = [whole, exact]
    fitting = [way for way in fast if way.needed_bytes <= budget_bytes]
    yield from fitting
    tiles_bytes = min([budget_bytes, *(way.needed_bytes for way in fitting)])
    if not fitting or work.bytes_in_tiles(request.smallest_px) <= tiles_bytes:
        yield _tiles(request, work, tiles_bytes)


def _requested_way(request: TilingRequest, work: Work, budget_bytes: int) -> Way:
    if request.mode == "none":
        return Way("none", work.bytes_whole())
    if request.mode == "exact":
        return Way("exact", work.bytes_streamed())
    return _tiles(request, work, budget_bytes)


def _tiles(request: TilingRequest, work: Work, budget_bytes: int) -> Way:
    tile_px = request.tile_px or _largest_tile_px(request, work, budget_bytes)
    sizes = TileSizes(tile_px, request.smallest_px, request.overlap_px)
    return Way("overlap", work.bytes_in_tiles(tile_px), sizes)


def _check_mode(mode: Tiling, tile_px: int | None, overlap_px: int | None) -> None:
    if mode not in get_args(Tiling):
        raise UsageError(f"there is no tiling {mode!r}", hint=f"choose one of {', '.join(get_args(Tiling))}")
    if mode in ("none", "exact") and (tile_px is not None or overlap_px is not None):
        raise UsageError(f"the tiling {mode!r} takes neither a tile size nor an overlap")
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
        f"a piece of this picture needs about {needed_mb} MB of memory, "
        f"but only {max(free_mb, 0)} MB are usable",
        hint="choose smaller tiles or a smaller model, or close other programs",
    )
