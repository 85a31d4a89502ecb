import itertools

from hypothesis import given
from hypothesis import strategies as st

from esc_cli.engine.tiling.tiles import Span, round_up, tile_spans


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
