import subprocess

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from esc_cli.enhancement.size import LARGEST_SIDE_PX, Geometry
from esc_cli.errors import UsageError

SIDES = st.integers(min_value=1, max_value=5000)
BOXES = ["{}x", "x{}", "{}", "{}x{}"]

CASES = [
    # (height, width) of the source, the geometry, (height, width) as ImageMagick 6.9.11 makes it
    ((201, 300), "1920x", (1286, 1920)),
    ((201, 300), "1920", (1286, 1920)),
    ((201, 300), "x1080", (1080, 1612)),
    ((201, 300), "50x30", (30, 45)),
    ((201, 300), "100x100>", (67, 100)),
    ((201, 300), "1000x100>", (100, 149)),
    ((201, 300), "1000x1000>", (201, 300)),
    ((201, 300), "100x100<", (201, 300)),
    ((201, 300), "1000x1000<", (670, 1000)),
    ((201, 300), "100x100^", (100, 149)),
    ((201, 300), "100^", (100, 149)),
    ((201, 300), "x100^", (100, 149)),
    ((201, 300), "100x50^>", (67, 100)),
    ((201, 300), "100x300!", (300, 100)),
    ((201, 300), "100x!", (201, 100)),
    ((201, 300), "x100!", (100, 300)),
    ((201, 300), "100x300!>", (201, 100)),
    ((201, 300), "50%", (101, 150)),
    ((201, 300), "50.5%", (102, 152)),
    ((201, 300), "200%x50%", (101, 600)),
    ((201, 300), "50x30%", (60, 150)),
    ((201, 300), "50%x30", (60, 150)),
    ((201, 300), "1000@", (25, 38)),
    ((201, 300), "100000@", (258, 386)),
    ((201, 300), "100000@>", (201, 300)),
    ((201, 300), "1x1", (1, 1)),
    ((3, 7), "13x^", (13, 30)),
    ((3, 7), "5X5", (2, 5)),
    ((3, 7), " 150% ", (5, 11)),
    ((9, 5), "50%", (5, 3)),
]


@pytest.mark.parametrize(("source", "text", "expected"), CASES)
def test_sizes_are_imagemagicks(source: tuple[int, int], text: str, expected: tuple[int, int]) -> None:
    assert Geometry.parse(text).size_of(*source) == expected


@pytest.mark.usefixtures("imagemagick")
def test_sizes_are_those_of_the_imagemagick_that_is_here() -> None:
    command = ["convert"]
    for (height, width), text, _ in CASES:
        made = ["-size", f"{width}x{height}", "xc:", "-filter", "point", "-resize", text.strip()]
        command += ["(", *made, ")"]
    command += ["-format", "%h %w\n", "info:"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    sizes = [tuple(map(int, line.split())) for line in answer.splitlines()]
    assert sizes == [expected for _, _, expected in CASES]


@given(SIDES, SIDES, SIDES, SIDES, st.sampled_from(BOXES))
def test_a_box_keeps_the_aspect_and_its_flags_their_word(
    height: int, width: int, first: int, second: int, box: str
) -> None:
    text = box.format(first, second)
    new_height, new_width = Geometry.parse(text).size_of(height, width)
    assert abs(new_height * width - new_width * height) <= max(height, width)
    smaller = Geometry.parse(text + ">").size_of(height, width)
    larger = Geometry.parse(text + "<").size_of(height, width)
    assert smaller == (min(height, new_height), min(width, new_width))
    assert larger == (max(height, new_height), max(width, new_width))
    filled = Geometry.parse(text + "^").size_of(height, width)
    assert filled[0] >= new_height
    assert filled[1] >= new_width


@given(SIDES, SIDES, SIDES, SIDES)
def test_a_box_is_touched_and_not_left(height: int, width: int, box_height: int, box_width: int) -> None:
    fitted = Geometry.parse(f"{box_width}x{box_height}").size_of(height, width)
    assert fitted[0] == box_height or fitted[1] == box_width
    assert fitted[0] <= box_height
    assert fitted[1] <= box_width
    assert Geometry.parse(f"{box_width}x{box_height}!").size_of(height, width) == (box_height, box_width)


@given(SIDES, SIDES, st.integers(min_value=1, max_value=10**7))
def test_an_area_is_not_exceeded(height: int, width: int, area_px: int) -> None:
    new_height, new_width = Geometry.parse(f"{area_px}@").size_of(height, width)
    assert new_height * new_width <= area_px


@given(SIDES, SIDES, st.floats(min_value=0.001, max_value=16))
def test_a_factor_rounds_each_side(height: int, width: int, scale: float) -> None:
    size = Geometry.of_scale(scale).size_of(height, width)
    assert size == (max(1, round(height * scale)), max(1, round(width * scale)))


@given(SIDES, SIDES, st.sampled_from(["1920x", "x1080", "500x500", "700x90^", "37%", "90000@"]))
def test_a_whole_factor_at_or_above_is_enough_for_both_sides(height: int, width: int, text: str) -> None:
    # The factor before rounding, rounded up, is enough for the rounded size too.
    new_height, new_width = Geometry.parse(text).size_of(height, width)
    assume(min(new_height, new_width) > 1)
    exact = max((new_height - 0.5) / height, (new_width - 0.5) / width)
    whole = max(1, -int(-exact // 1))
    assert new_height <= whole * height
    assert new_width <= whole * width


NO_SIZES = """
    x  %  @  !  -5x  1.5x  1920*1080  1920x1080x3  100x100+3+4  1e3x  50%x  x50%  50%>  50%!  1000@<  1000@^
    ^100  1920px  nan%  inf%  ٣x  100x%  x@
"""


@pytest.mark.parametrize("text", ["", " ", "1920 x 1080", *NO_SIZES.split()])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size") as caught:
        Geometry.parse(text)
    assert caught.value.hint is not None


@pytest.mark.parametrize("text", ["0", "0x", "0x50", "50x0", "x0", "0%", "0.0%", "50x0%", "0@"])
def test_a_size_that_leaves_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="nothing would be left"):
        Geometry.parse(text)


@pytest.mark.parametrize(
    "text", [f"{LARGEST_SIDE_PX + 1}x", f"x{10**400}", "100001%", f"{10**13}@", "1x" + "9" * 5000]
)
def test_a_size_that_is_absurd_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="too large") as caught:
        Geometry.parse(text)
    assert len(caught.value.message) < 120


@pytest.mark.parametrize("text", ["100x100<>", "100x100>!<", "100x100!^"])
def test_flags_that_contradict_each_other_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="contradicts itself"):
        Geometry.parse(text)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf"), 1001.0])
def test_a_scale_is_a_number_above_zero_and_not_absurd(scale: float) -> None:
    with pytest.raises(UsageError, match="scale"):
        Geometry.of_scale(scale)


def test_a_file_is_named_by_the_size_that_it_has() -> None:
    labels = {
        "384x216": "216x216",
        "384x": "384x384",
        "384x216!": "384x216",
        "10000@": "100x100",
        "50%": "50pct",
    }
    for text, label in labels.items():
        rule = Geometry.parse(text)
        assert rule.file_label(rule.size_of(64, 64)) == label
    assert Geometry.of_scale(1.5).file_label((96, 96)) == "x1.5"


def test_labels_stand_in_names_of_files() -> None:
    labels = {
        "1920": "1920x",
        "1920x": "1920x",
        "x1080": "x1080",
        "1920x1080>": "1920x1080-shrink",
        "1920x1080<": "1920x1080-enlarge",
        "100^": "100x100-fill",
        "100x50!>": "100x50-exact-shrink",
        "50%": "50pct",
        "33.3%x50%": "33.3x50pct",
        "2000000@>": "2000000px-shrink",
    }
    assert {text: Geometry.parse(text).label for text in labels} == labels
    assert [Geometry.of_scale(scale).label for scale in (4.0, 1.5, 0.25)] == ["x4", "x1.5", "x0.25"]


def test_equal_sizes_are_equal() -> None:
    assert Geometry.parse("1920x") == Geometry.parse(" 1920X")
    assert Geometry.parse("100x100>") != Geometry.parse("100x100")
    assert Geometry.of_scale(2) != Geometry.parse("200%")
    assert len({Geometry.parse("50%"), Geometry.parse("50x50%")}) == 1
