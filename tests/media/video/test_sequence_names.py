from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from esc_cli.errors import InputError, UsageError
from esc_cli.media.video.sequence_names import is_sequence, sequence_names

NAMES = st.text("ab%d06.-_ ", max_size=12)


@pytest.mark.parametrize("name", ["%d.png", "frames/%06d.png", "a/shot_%d.tif", "100%%_%02d", "%%%d%%"])
def test_a_sequence(name: str) -> None:
    assert is_sequence(name)


@pytest.mark.parametrize(
    "name",
    ["", "a.png", "%d_%d.png", "%s.png", "%6d.png", "%00d.png", "%%d.png", "%d/a.png", "100%_%d.png", "%d%"],
)
def test_no_sequence(name: str) -> None:
    assert not is_sequence(name)
    with pytest.raises(UsageError, match="must have exactly one number"):
        sequence_names(name)


def test_a_file_of_that_name_is_meant_itself(tmp_path: Path) -> None:
    path = tmp_path / "%d.png"
    assert is_sequence(str(path))
    path.touch()
    assert not is_sequence(str(path))


@given(before=NAMES, after=NAMES, digits=st.integers(0, 9), number=st.integers(0, 10**10))
def test_names_are_those_of_printf(before: str, after: str, digits: int, number: int) -> None:
    field = f"%0{digits}d" if digits else "%d"
    pattern = f"{before.replace('%', '%%')}{field}{after.replace('%', '%%')}"
    assert sequence_names(f"folder/{pattern}").path(number) == Path("folder", pattern % number)


def test_files_from_the_least_number_on(tmp_path: Path) -> None:
    names = ["f009.png", "f010.png", "f011.png"]
    for name in [
        *names,
        "f0012.png",
        "f12.png",
        "f012.jpg",
        "g012.png",
        "f012.png~",
        "f\N{ARABIC-INDIC DIGIT ZERO}12.png",
    ]:
        (tmp_path / name).touch()
    assert [path.name for path in sequence_names(f"{tmp_path}/f%03d.png").files()] == names


def test_numbers_outgrow_their_zeros(tmp_path: Path) -> None:
    for number in range(8, 12):
        (tmp_path / f"{number:01d}+.png").touch()
    files = sequence_names(f"{tmp_path}/%01d+.png").files()
    assert [path.name for path in files] == ["8+.png", "9+.png", "10+.png", "11+.png"]


def test_a_gap_is_named(tmp_path: Path) -> None:
    for number in (1, 2, 4, 5):
        (tmp_path / f"{number}.png").touch()
    with pytest.raises(InputError, match=r"/3\.png is missing, but the numbers continue to 5\.png"):
        sequence_names(f"{tmp_path}/%d.png").files()


def test_no_files(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(InputError, match=r"no files match .*/%06d\.png"):
        sequence_names(f"{tmp_path}/%06d.png").files()
    with pytest.raises(InputError, match="nowhere cannot be read: No such file or directory"):
        sequence_names(f"{tmp_path}/nowhere/%d.png").files()
    with pytest.raises(InputError, match="a cannot be read: Not a directory"):
        sequence_names(f"{tmp_path}/a/%d.png").files()
