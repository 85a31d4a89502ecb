from itertools import combinations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.errors import UsageError
from esc_cli.evaluation.windows import Window, most_detailed


def overlap(first: Window, second: Window) -> bool:
    rows = min(first.top + first.height, second.top + second.height) - max(first.top, second.top)
    columns = min(first.left + first.width, second.left + second.width) - max(first.left, second.left)
    return rows > 0 and columns > 0


def test_four_numbers_are_a_window() -> None:
    assert Window.parse("3, 4,5,6") == Window(3, 4, 5, 6)
    assert str(Window(3, 4, 5, 6)) == "3,4,5,6"
    assert Window(3, 4, 5, 6).enlarged(3) == Window(9, 12, 15, 18)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,4,4", "0,0,0,4"])
def test_anything_else_is_none(text: str) -> None:
    with pytest.raises(UsageError, match="crop"):
        Window.parse(text)


def test_cutting() -> None:
    picture = torch.arange(30).view(1, 1, 5, 6)
    assert Window(1, 2, 2, 3).cut(picture).tolist() == [[[[8, 9, 10], [14, 15, 16]]]]
    assert Window(1, 2, 4, 4).is_inside(5, 6)
    assert not Window(2, 2, 4, 4).is_inside(5, 6)
    assert not Window(1, 3, 4, 4).is_inside(5, 6)


def test_the_most_detail_comes_first() -> None:
    picture = torch.zeros(1, 3, 64, 96, dtype=torch.uint8)
    noise = torch.randint(0, 256, (1, 1, 16, 16), dtype=torch.uint8)
    picture[..., 8:24, 64:80] = noise
    picture[..., 40:56, 16:32] = noise // 2
    assert most_detailed(picture, 16, 2) == (Window(8, 64, 16, 16), Window(40, 16, 16, 16))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 24), st.integers(1, 9))
def test_windows_lie_inside_and_do_not_overlap(height: int, width: int, side_px: int, count: int) -> None:
    picture = torch.randint(0, 256, (1, 3, height, width), dtype=torch.uint8)
    windows = most_detailed(picture, side_px, count)
    assert 1 <= len(windows) <= count
    assert {(each.height, each.width) for each in windows} == {(min(side_px, height), min(side_px, width))}
    assert all(each.is_inside(height, width) for each in windows)
    assert not any(overlap(*pair) for pair in combinations(windows, 2))


def test_a_flat_picture_has_windows_too() -> None:
    assert len(most_detailed(torch.zeros(1, 3, 40, 40, dtype=torch.uint8), 16, 3)) == 3
