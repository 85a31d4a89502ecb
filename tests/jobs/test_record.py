import json
import os
from pathlib import Path

import pytest

from esc_cli.errors import InputError, OutputError
from esc_cli.jobs.record import (
    Account,
    Stamp,
    account_of,
    is_up_to_date,
    record_path,
    stamp_unchanged,
    status_of,
    write_record,
)

RECIPE = {"models": ["digest"], "height": 8, "width": 6, "quality": None, "metadata": ["exif", "xmp"]}

ACCOUNT = Account("esc", 1.5, ("the profile is not kept",))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Path]:
    """Make an input and its result with a record, and return both paths."""
    source, target = tmp_path / "in.png", tmp_path / "out" / "in.png"
    source.write_bytes(b"the input")
    target.parent.mkdir()
    target.write_bytes(b"the result")
    write_record(target, Stamp.of(source), Stamp.of(target), RECIPE, ACCOUNT)
    return source, target


def test_a_result_is_up_to_date_until_something_changes(made: tuple[Path, Path]) -> None:
    source, target = made
    assert is_up_to_date(source, target, RECIPE)
    assert not is_up_to_date(source, target, {**RECIPE, "quality": 90})
    assert not is_up_to_date(source, target, {**RECIPE, "new setting": 1})
    target.write_bytes(b"THE RESULT")
    assert not is_up_to_date(source, target, RECIPE)
    target.unlink()
    assert not is_up_to_date(source, target, RECIPE)


def test_the_record_tells_about_the_making_of_a_result_until_it_changes(made: tuple[Path, Path]) -> None:
    assert account_of(made[1]) == ACCOUNT
    record = json.loads(record_path(made[1]).read_text())
    del record["seconds"], record["notes"]  # as earlier versions of this program have written it
    record_path(made[1]).write_text(json.dumps(record))
    assert account_of(made[1]) == Account("esc")
    assert is_up_to_date(*made, RECIPE)
    made[1].write_bytes(b"another result")
    assert account_of(made[1]) is None


@pytest.mark.parametrize("which", [0, 1])
def test_time_alone_does_not_decide_but_content_does(made: tuple[Path, Path], which: int) -> None:
    content = made[which].read_bytes()
    os.utime(made[which], ns=(10**18, 10**18))
    assert is_up_to_date(*made, RECIPE)  # touched, or copied from another disk
    made[which].write_bytes(content.swapcase())
    assert not is_up_to_date(*made, RECIPE)
    made[which].write_bytes(content + b"!")
    assert not is_up_to_date(*made, RECIPE)


def test_files_of_the_same_size_and_time_are_not_read(made: tuple[Path, Path]) -> None:
    """A second run is fast because it does not read ten thousand pictures again."""
    source, _ = made
    status = source.stat()
    source.write_bytes(b"THE INPUT")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert is_up_to_date(*made, RECIPE)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"null", b'{"version": 1, "recipe": {}}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_record_says_nothing(made: tuple[Path, Path], content: bytes) -> None:
    record_path(made[1]).write_bytes(content)
    assert not is_up_to_date(*made, RECIPE)


def test_a_record_of_another_version_says_nothing(made: tuple[Path, Path]) -> None:
    path = record_path(made[1])
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 999}))
    assert not is_up_to_date(*made, RECIPE)


def test_records_are_hidden_beside_the_results_and_whole(made: tuple[Path, Path]) -> None:
    _, target = made
    assert record_path(target) == target.parent / ".esc-upscale" / "in.png.json"
    assert [path.name for path in record_path(target).parent.iterdir()] == ["in.png.json"]
    longest = target.with_name("é" * 125 + ".png")
    assert len(os.fsencode(record_path(longest).name)) < 100
    assert record_path(longest) != record_path(longest.with_name("è" * 125 + ".png"))
    record_path(target).unlink()
    record_path(target).parent.rmdir()
    record_path(target).parent.write_bytes(b"a file is in the way")
    with pytest.raises(OutputError):
        write_record(target, Stamp(0, 0, ""), Stamp(0, 0, ""), RECIPE, Account())


def test_an_input_that_changes_while_it_is_read(tmp_path: Path) -> None:
    source = tmp_path / "in.png"
    source.write_bytes(b"1")
    before = status_of(source)
    assert stamp_unchanged(source, before) == Stamp.of_content(b"1", before)
    source.write_bytes(b"22")
    with pytest.raises(InputError, match="changed while it was being read"):
        stamp_unchanged(source, before)
    source.unlink()
    with pytest.raises(InputError, match="disappeared while it was being read"):
        stamp_unchanged(source, before)
    with pytest.raises(InputError, match="there is no such file"):
        status_of(source)
