from collections.abc import Callable

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.media.caption import LINE_PX, captioned
from esc_cli.media.picture import Metadata, Picture

Make = Callable[..., Picture]


def plain(width: int) -> Picture:
    return Picture(torch.full((1, 3, 2, width), 77, dtype=torch.uint8), None, False, Metadata(), "PNG")


def strip(line: str, width: int = 240) -> Tensor:
    return captioned(plain(width), (line,)).color[..., 2:, :]


def test_the_picture_stays_above_its_lines(make_picture: Make) -> None:
    picture = make_picture()
    result = captioned(picture, ("esc-light", "27.31 dB"))
    assert torch.equal(result.color[..., : picture.height, :], picture.color)
    assert result.height == picture.height + 2 * LINE_PX
    assert (result.width, result.gray, result.metadata) == (picture.width, picture.gray, picture.metadata)


def test_text_is_white_on_black_and_without_color() -> None:
    written = strip("esc")
    assert (int(written.min()), int(written.max())) == (0, 255)
    assert torch.equal(written[:, 0], written[:, 1])
    assert torch.equal(written[:, 0], written[:, 2])
    assert int(strip("").max()) == 0


def test_each_line_has_its_own_place() -> None:
    both = captioned(plain(240), ("esc", "30 dB")).color[..., 2:, :]
    assert torch.equal(both, torch.cat((strip("esc"), strip("30 dB")), dim=2))


def test_of_a_line_that_is_too_long_the_end_is_shown() -> None:
    first, second = (f"{'runs/' * 30}{name}.safetensors" for name in ("first", "second"))
    assert not torch.equal(strip(first), strip(second))
    assert torch.equal(strip(first), strip("more/" + first))


@given(st.text(max_size=60), st.integers(1, 300))
def test_any_text_fits_any_width(text: str, width: int) -> None:
    assert captioned(plain(width), (text,)).color.shape == (1, 3, 2 + LINE_PX, width)
