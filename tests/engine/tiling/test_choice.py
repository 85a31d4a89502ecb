import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.engine.executors.registry import runtime_named
from esc_cli.engine.memory.footprint import Work
from esc_cli.engine.tiling.choice import (
    LARGEST_CHOSEN_PX,
    USABLE_SHARE,
    Tiling,
    Way,
    choose_ways,
    tiling_request,
)
from esc_cli.errors import OutOfMemoryError, UsageError
from esc_cli.networks.architectures.registry import VARIANTS

LIGHT = VARIANTS["esc-light"](4)
PLENTY = 2**50
TORCH = runtime_named("torch")


def work(height: int = 1024, width: int = 2048, batch: int = 1) -> Work:
    return Work(LIGHT, torch.float32, "sdpa", batch, height, width, TORCH)


def ways(mode: Tiling, todo: Work, free: int = PLENTY, on_cpu: bool = True) -> tuple[Way, ...]:
    return choose_ways(tiling_request(mode, None, None, 32), todo, free, on_cpu)


def test_auto_falls_back_from_way_to_way() -> None:
    assert [way.mode for way in ways("auto", work(), on_cpu=False)] == ["none", "exact", "overlap"]


def test_openvino_runs_whole_pictures_and_tiles() -> None:
    todo = dataclasses.replace(work(), runtime=runtime_named("openvino"))
    assert [way.mode for way in ways("auto", todo)] == ["none", "overlap"]


def test_on_a_cpu_only_small_pictures_are_done_at_once() -> None:
    assert ways("auto", work())[0].mode == "exact"
    assert ways("auto", work(128, 128))[0].mode == "none"


@given(st.integers(0, 2**35), st.integers(1, 60), st.integers(1, 60), st.booleans())
def test_auto_takes_what_fits(free: int, rows: int, columns: int, on_cpu: bool) -> None:
    todo = work(32 * rows, 32 * columns)
    budget = free * USABLE_SHARE
    try:
        chosen = ways("auto", todo, free, on_cpu)
    except OutOfMemoryError:
        assert todo.bytes_in_tiles(64) > budget - 1
        return
    assert all(way.needed_bytes <= budget for way in chosen)
    exact_fits = min(todo.bytes_streamed(), todo.bytes_whole()) <= budget
    assert (chosen[0].mode in ("none", "exact")) == exact_fits


def test_a_picture_no_higher_than_a_strip_is_done_at_once_and_not_in_tiles() -> None:
    todo = work(32, 8000)
    (way, *_) = ways("auto", todo, int(todo.bytes_whole() / USABLE_SHARE) + 1)
    assert way.mode == "none"


@pytest.mark.parametrize("size", [(608, 608), (96, 2000), (2000, 3000)])
def test_each_way_to_fall_back_on_needs_less(size: tuple[int, int]) -> None:
    needed = [way.needed_bytes for way in ways("auto", work(*size), on_cpu=False)]
    assert needed == sorted(needed, reverse=True)


def test_naive_attention_needs_memory_for_all_its_scores() -> None:
    fused = work(192, 192)
    naive = dataclasses.replace(fused, attention="naive")
    scores_bytes = 4 * 32**2 * 192**2 * 4
    assert naive.bytes_whole() > fused.bytes_whole() + 2 * scores_bytes
    assert naive.bytes_streamed() < naive.bytes_whole()


def test_exact_needs_less_than_the_whole_and_grows_more_slowly() -> None:
    small, large = work(1024, 1024), work(4096, 1024)
    assert large.bytes_streamed() < large.bytes_whole() / 3
    assert large.bytes_streamed() - small.bytes_streamed() == (2 * 64 + 16 + 3) * 4 * 3072 * 1024


def test_overlap_takes_tiles_even_so() -> None:
    (way,) = ways("overlap", work())
    assert way.mode == "overlap"
    assert way.sizes is not None
    assert way.sizes.largest_px == LARGEST_CHOSEN_PX


@given(st.integers(0, 4 * 2**30), st.integers(1, 4))
def test_chosen_tiles_fit_and_the_next_larger_would_not(free: int, batch: int) -> None:
    todo = work(batch=batch)
    tile_px = 32
    try:
        (way,) = ways("overlap", todo, free)
    except OutOfMemoryError:
        pass
    else:
        assert way.sizes is not None
        tile_px = way.sizes.largest_px
        assert todo.bytes_in_tiles(tile_px) <= free * USABLE_SHARE
    if tile_px < LARGEST_CHOSEN_PX:
        assert todo.bytes_in_tiles(tile_px + 32) > free * USABLE_SHARE - 1


def test_a_tile_that_was_asked_for_is_rounded_up_to_windows() -> None:
    for mode in ("auto", "overlap"):
        (way,) = choose_ways(tiling_request(mode, 100, 20, 32), work(), PLENTY, on_cpu=True)
        assert way.sizes is not None
        assert (way.sizes.largest_px, way.sizes.overlap_px, way.sizes.smallest_px) == (128, 32, 64)


@pytest.mark.parametrize(
    ("mode", "tile_px"), [("none", None), ("exact", None), ("overlap", 2048), ("auto", 2048)]
)
def test_what_was_asked_for_and_does_not_fit_is_refused_where_the_system_would_kill(
    mode: Tiling, tile_px: int | None
) -> None:
    request, todo = tiling_request(mode, tile_px, None, 32), work()
    free = (todo.bytes_streamed() if mode == "exact" else todo.bytes_whole()) - 1
    with pytest.raises(OutOfMemoryError):
        choose_ways(request, todo, free, on_cpu=True)
    (way,) = choose_ways(request, todo, free, on_cpu=False)
    assert way.mode == ("overlap" if tile_px else mode)


@pytest.mark.parametrize(
    ("mode", "tile_px", "overlap_px"),
    [
        ("diagonal", None, None),
        ("exact", 128, None),
        ("exact", None, 32),
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
