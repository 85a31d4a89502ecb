import pytest

from esc_cli.errors import UsageError
from esc_cli.jobs.previews.request import PreviewRequest


@pytest.mark.parametrize(
    ("value", "frames", "parts", "place"),
    [
        ("auto", 9, 1, None),
        (4, 4, 4, None),
        (" 4 ", 4, 4, None),
        ("10,0", 9, 1, (10, 0)),
        ("10,0,30,40", 9, 1, (10, 0, 30, 40)),
    ],
)
def test_requests(value: int | str, frames: int, parts: int, place: tuple[int, ...] | None) -> None:
    request = PreviewRequest.parse(value)
    assert (request.frames, request.parts, request.place) == (frames, parts, place)


@pytest.mark.parametrize(
    "value", [0, -1, "", "0", "1,2,3", "1,2,3,0", "1,2,3,4,5", "-1,2", "x", "1;2", "1.5", "²"]
)
def test_other_texts_are_refused(value: int | str) -> None:
    with pytest.raises(UsageError, match="is not a preview"):
        PreviewRequest.parse(value)
