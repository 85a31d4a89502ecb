from esc_cli.engine.tiling.blocks import pieces
from esc_cli.engine.tiling.tiles import Span


def test_pieces_of_an_axis_that_wraps() -> None:
    assert list(pieces(Span(-2, 3), 4)) == [Span(2, 4), Span(0, 3)]
    assert list(pieces(Span(-5, 6), 3)) == [Span(1, 3), Span(0, 3), Span(0, 3), Span(0, 3)]
