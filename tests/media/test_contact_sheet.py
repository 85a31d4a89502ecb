"""Test contact sheets, and text below pictures."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from esc_cli.media.contact_sheet import LINE_PX, captioned, contact_sheet
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture

GAP_PX = 8


def plain(value: int, height: int = 4, width: int = 6, dtype: torch.dtype = torch.uint8) -> Picture:
    color = torch.full((1, 3, height, width), value, dtype=torch.int32).to(dtype)
    return Picture(color, None, False, Metadata(), "PNG", depth_bits=8 if dtype == torch.uint8 else 16)


def pasted(pictures: list[Picture], columns: int, rows: int) -> Any:
    """Return the sheet as Pillow assembles it."""
    height, width = pictures[0].height, pictures[0].width
    sheet = Image.new("RGB", (columns * (width + GAP_PX) - GAP_PX, rows * (height + GAP_PX) - GAP_PX))
    for index, picture in enumerate(pictures):
        tile = Image.fromarray(picture.color[0].permute(1, 2, 0).numpy())
        sheet.paste(tile, (index % columns * (width + GAP_PX), index // columns * (height + GAP_PX)))
    return np.asarray(sheet)


@pytest.mark.parametrize(
    ("count", "columns", "rows"), [(1, 1, 1), (4, 2, 2), (5, 2, 3), (5, 5, 1), (5, 3, 2)]
)
def test_as_pillow_puts_it_together(
    make_picture: Callable[..., Picture], count: int, columns: int, rows: int
) -> None:
    pictures = [make_picture(20, 30 + index) for index in range(count)]
    pictures = [replace(picture, color=picture.color[..., :30]) for picture in pictures]
    sheet = contact_sheet(pictures, columns)
    assert np.array_equal(sheet.color[0].permute(1, 2, 0).numpy(), pasted(pictures, columns, rows))


def test_sixteen_bits_stay() -> None:
    sheet = contact_sheet([plain(40_000, dtype=torch.uint16), plain(65_535, dtype=torch.uint16)], 2)
    assert sheet.color.dtype == torch.uint16
    assert sheet.depth_bits == 16
    assert sheet.color[0, 0, 0].tolist() == [40_000] * 6 + [0] * GAP_PX + [65_535] * 6


def test_transparency_is_laid_on_black(make_picture: Callable[..., Picture]) -> None:
    picture = make_picture(alpha=True)
    sheet = contact_sheet([picture])
    assert sheet.alpha is None
    assert sheet.color[..., 0].max() == 0
    assert torch.equal(sheet.color[..., -1], picture.color[..., -1])


def test_gray_only_if_all_are(make_picture: Callable[..., Picture]) -> None:
    gray, color = make_picture(gray=True), make_picture()
    assert contact_sheet([gray, gray]).gray
    assert not contact_sheet([gray, color]).gray


@given(st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_no_other_grid_is_nearer_to_a_square(count: int, height: int, width: int) -> None:
    sheet = contact_sheet([plain(255, height, width)] * count)
    assert int((sheet.color == 255).sum()) == 3 * count * height * width
    others = [contact_sheet([plain(255, height, width)] * count, columns) for columns in range(1, count + 1)]
    shapes = [max(other.height / other.width, other.width / other.height) for other in others]
    assert max(sheet.height / sheet.width, sheet.width / sheet.height) == min(shapes)


@pytest.mark.parametrize(
    "pictures",
    [[], [plain(0), plain(0, 5)], [plain(0), plain(0, dtype=torch.uint16)]],
    ids=["none", "sizes", "types"],
)
def test_what_makes_no_sheet(pictures: list[Picture]) -> None:
    with pytest.raises(ValueError, match="all must have one size and type"):
        contact_sheet(pictures)


def test_no_columns() -> None:
    with pytest.raises(ValueError, match="at least one column"):
        contact_sheet([plain(0)], 0)


Make = Callable[..., Picture]


def of_width(width: int) -> Picture:
    return Picture(torch.full((1, 3, 2, width), 77, dtype=torch.uint8), None, False, Metadata(), "PNG")


def strip(line: str, width: int = 240) -> Tensor:
    return captioned(of_width(width), (line,)).color[..., 2:, :]


def test_the_picture_stays_above_its_lines(make_picture: Make) -> None:
    picture = make_picture()
    result = captioned(picture, ("esc-light", "27.31 dB"))
    assert torch.equal(result.color[..., : picture.height, :], picture.color)
    assert result.height == picture.height + 2 * LINE_PX
    assert (result.width, result.gray, result.metadata) == (picture.width, picture.gray, picture.metadata)


def test_text_is_white_on_any_kind_of_picture() -> None:
    deep = replace(of_width(240), color=torch.full((1, 3, 2, 240), 20_000, dtype=torch.uint16))
    result = captioned(deep, ("esc",))
    assert torch.equal(result.color[..., 2:, :].to(torch.int32), strip("esc").to(torch.int32) * 257)
    clear = replace(of_width(240), alpha=torch.zeros((1, 1, 2, 240), dtype=torch.uint8))
    shown = captioned(clear, ("esc",))
    assert (shown.alpha, int(shown.color[..., :2, :].max())) == (None, 0)
    assert torch.equal(shown.color[..., 2:, :], strip("esc"))


def test_text_is_white_on_black_and_without_color() -> None:
    written = strip("esc")
    assert (int(written.min()), int(written.max())) == (0, 255)
    assert torch.equal(written[:, 0], written[:, 1])
    assert torch.equal(written[:, 0], written[:, 2])
    assert int(strip("").max()) == 0


def test_each_line_has_its_own_place() -> None:
    both = captioned(of_width(240), ("esc", "30 dB")).color[..., 2:, :]
    assert torch.equal(both, torch.cat((strip("esc"), strip("30 dB")), dim=2))


def test_of_a_line_that_is_too_long_the_end_is_shown() -> None:
    first, second = (f"{'runs/' * 30}{name}.safetensors" for name in ("first", "second"))
    assert not torch.equal(strip(first), strip(second))
    assert torch.equal(strip(first), strip("more/" + first))


@given(st.text(max_size=60), st.integers(1, 300))
def test_any_text_fits_any_width(text: str, width: int) -> None:
    assert captioned(of_width(width), (text,)).color.shape == (1, 3, 2 + LINE_PX, width)
