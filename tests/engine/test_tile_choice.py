import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esc_cli.engine.footprint import needed_bytes
from esc_cli.engine.tile_choice import (
    LARGEST_CHOSEN_PX,
    USABLE_SHARE,
    Tiling,
    Work,
    choose_tile_sizes,
    tiling_request,
)
from esc_cli.errors import OutOfMemoryError, UsageError
from esc_cli.networks.variants import VARIANTS

LIGHT = VARIANTS["esc-light"](4)
PLENTY = 2**50


def work(height: int = 1024, width: int = 2048, batch: int = 1) -> Work:
    return Work(LIGHT, torch.float32, batch, height, width)


def test_auto_takes_the_picture_whole_if_it_fits() -> None:
    sizes = choose_tile_sizes(tiling_request("auto", None, None, 32), work(), PLENTY, strict=True)
    assert sizes.largest_px == 2048


def test_overlap_takes_tiles_even_so() -> None:
    sizes = choose_tile_sizes(tiling_request("overlap", None, None, 32), work(), PLENTY, strict=True)
    assert sizes.largest_px == LARGEST_CHOSEN_PX


@settings(deadline=None)
@given(st.integers(0, 4 * 2**30), st.integers(1, 4), st.sampled_from(["auto", "overlap"]))
def test_chosen_tiles_fit_and_the_next_larger_would_not(free: int, batch: int, mode: Tiling) -> None:
    request = tiling_request(mode, None, None, 32)
    todo = work(batch=batch)
    try:
        tile_px = choose_tile_sizes(request, todo, free, strict=True).largest_px
    except OutOfMemoryError:
        tile_px = request.smallest_px - 32
    else:
        assert todo.bytes_in_tiles(tile_px) <= free * USABLE_SHARE
    if tile_px < LARGEST_CHOSEN_PX:
        assert todo.bytes_in_tiles(tile_px + 32) > free * USABLE_SHARE


def test_a_tile_that_was_asked_for_is_rounded_up_to_windows() -> None:
    for mode in ("auto", "overlap"):
        request = tiling_request(mode, 100, 20, 32)
        sizes = choose_tile_sizes(request, work(), PLENTY, strict=True)
        assert (sizes.largest_px, sizes.overlap_px, sizes.smallest_px) == (128, 32, 64)


def test_none_never_goes_to_tiles() -> None:
    sizes = choose_tile_sizes(tiling_request("none", None, None, 32), work(), PLENTY, strict=True)
    assert sizes.largest_px == sizes.smallest_px == 2048


@pytest.mark.parametrize(("mode", "tile_px"), [("none", None), ("overlap", 2048), ("auto", 2048)])
def test_what_was_asked_for_and_does_not_fit_is_refused_where_the_system_would_kill(
    mode: Tiling, tile_px: int | None
) -> None:
    request = tiling_request(mode, tile_px, None, 32)
    free = needed_bytes(LIGHT, 1024, 2048, torch.float32) - 1
    with pytest.raises(OutOfMemoryError):
        choose_tile_sizes(request, work(), free, strict=True)
    assert choose_tile_sizes(request, work(), free, strict=False).largest_px == 2048


@pytest.mark.parametrize(
    ("mode", "tile_px", "overlap_px"),
    [
        ("diagonal", None, None),
        ("exact", None, None),
        ("none", 128, None),
        ("none", None, 32),
        ("overlap", 0, None),
        ("overlap", 64, -1),
        ("overlap", 64, 64),
        ("overlap", 32, None),
    ],
)
def test_a_request_without_sense_is_refused(mode: str, tile_px: int | None, overlap_px: int | None) -> None:
    with pytest.raises(UsageError):
        tiling_request(mode, tile_px, overlap_px, 32)  # type: ignore[arg-type]
