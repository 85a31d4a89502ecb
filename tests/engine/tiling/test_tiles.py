import itertools

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.engine.tiling.tiles import Blender, Span, fade_in, round_up, tile_spans


@st.composite
def axes(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """Draw a length, a tile, an overlap and a window, for a picture that is padded to whole windows."""
    align = draw(st.integers(1, 48))
    length = align * draw(st.integers(1, 60))
    overlap = draw(st.integers(0, 3 * align))
    tile = round_up(overlap, align) + draw(st.integers(1, 20 * align))
    return length, tile, overlap, align


@given(axes())
def test_tiles_cover_the_axis_in_order(axis: tuple[int, int, int, int]) -> None:
    spans = tile_spans(*axis)
    assert spans[0].start == 0
    assert spans[-1].stop == axis[0]
    assert all(a.start < b.start <= a.stop for a, b in itertools.pairwise(spans))


@given(axes())
def test_tiles_lie_on_the_grid_and_have_one_length(axis: tuple[int, int, int, int]) -> None:
    length, tile, _, align = axis
    spans = tile_spans(*axis)
    assert all(span.start % align == 0 for span in spans)
    assert len({span.length for span in spans}) == 1
    assert spans[0].length <= round_up(tile, align)
    assert len(spans) == 1 or length > round_up(tile, align)


@given(axes())
def test_neighbours_overlap_enough_and_not_much_more(axis: tuple[int, int, int, int]) -> None:
    _, _, overlap, align = axis
    spans = tile_spans(*axis)
    for left, right in itertools.pairwise(spans):
        assert overlap <= left.stop - right.start <= round_up(overlap, align) + align


@given(axes())
def test_there_are_as_few_tiles_as_can_be(axis: tuple[int, int, int, int]) -> None:
    length, tile, overlap, align = axis
    step = round_up(tile, align) - round_up(overlap, align)
    fewest = 1 + max(0, -(-(length - round_up(tile, align)) // step))
    assert len(tile_spans(*axis)) == fewest


def test_tiles_are_no_longer_than_their_number_needs() -> None:
    assert tile_spans(544, 512, 32, 32) == (Span(0, 288), Span(256, 544))


def test_a_span_enlarged_is_cut_at_the_picture() -> None:
    assert Span(8, 16).enlarged(4) == slice(32, 64)
    assert Span(8, 16).enlarged(4, limit_px=10) == slice(32, 40)


grids = st.builds(
    lambda units, tile, overlap, align: tile_spans(
        units * align, (overlap + tile) * align, overlap * align, align
    ),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(0, 3),
    st.integers(1, 3),
)


def blended(
    rows: tuple[Span, ...], columns: tuple[Span, ...], tiles: list[list[Tensor]], scale: int
) -> Tensor:
    """Blend tiles. A pixel that is not emitted is NaN, and a pixel that is emitted twice is an error."""
    high = torch.full((1, 1, rows[-1].stop * scale, columns[-1].stop * scale), torch.nan)

    def write(row: Span, column: Span, block: Tensor) -> None:
        place = high[..., row.enlarged(scale), column.enlarged(scale)]
        assert place.isnan().all()
        place.copy_(block)

    blender = Blender(rows, columns, scale, write)
    for row, of_row in enumerate(tiles):
        for column, tile in enumerate(of_row):
            blender.add(row, column, tile.clone())
    return high


def tiles_of(
    picture: Tensor, rows: tuple[Span, ...], columns: tuple[Span, ...], scale: int
) -> list[list[Tensor]]:
    return [[picture[..., r.enlarged(scale), c.enlarged(scale)] for c in columns] for r in rows]


@given(grids, grids, st.integers(1, 3))
def test_equal_tiles_join_bit_for_bit(rows: tuple[Span, ...], columns: tuple[Span, ...], scale: int) -> None:
    picture = torch.rand(1, 1, rows[-1].stop * scale, columns[-1].stop * scale)
    assert torch.equal(blended(rows, columns, tiles_of(picture, rows, columns, scale), scale), picture)


@settings(max_examples=30)
@given(grids, grids)
def test_the_shares_of_the_tiles_at_a_pixel_add_up_to_one(
    rows: tuple[Span, ...], columns: tuple[Span, ...]
) -> None:
    total = torch.zeros(1, 1, rows[-1].stop, columns[-1].stop)
    for chosen in range(len(rows) * len(columns)):
        tiles = [
            [
                torch.full((1, 1, r.length, c.length), float(i * len(columns) + j == chosen))
                for j, c in enumerate(columns)
            ]
            for i, r in enumerate(rows)
        ]
        share = blended(rows, columns, tiles, scale=1)
        assert share.min() >= 0
        assert share.max() <= 1
        total += share
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)


def test_the_outer_edge_is_its_tiles_alone() -> None:
    spans = tile_spans(48, 16, 8, 8)
    tiles = [[torch.full((1, 1, 16, 16), float(i == j == 0)) for j in range(5)] for i in range(5)]
    corner = blended(spans, spans, tiles, scale=1)[0, 0]
    assert (corner[:8, :8] == 1).all()
    assert (corner[0, 8:16] > 0).all()
    assert (corner[16:] == 0).all()


def test_a_fade_rises_smoothly_between_its_ends() -> None:
    share = fade_in(16)
    assert 0 < share[0] < 0.01
    assert (share.diff() > 0).all()
    torch.testing.assert_close(share + share.flip(0), torch.ones(16))
    assert fade_in(1).item() == 0.5
