import errno
import os
import stat
from pathlib import Path

import pytest

from esc_cli.errors import OutputError
from esc_cli.media.atomic import atomic_path


def test_the_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    with atomic_path(target) as partial:
        partial.write_bytes(b"new")
        assert partial.parent == tmp_path
        assert partial.name.startswith(".out.bin.")
        assert partial.suffix == ".part"
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_any_failure_leaves_all_as_it_was(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic_path(target) as partial:
        partial.write_bytes(b"new")
        raise error
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match="the disk is full"), atomic_path(tmp_path / "out.bin") as partial:
        partial.write_bytes(b"new")
    assert list(tmp_path.iterdir()) == []


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    mask = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "ours") as partial:
            partial.write_bytes(b"")
        (tmp_path / "plain").write_bytes(b"")
    finally:
        os.umask(mask)
    assert stat.S_IMODE((tmp_path / "ours").stat().st_mode) == 0o640
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere" / "file")
    with atomic_path(link) as partial:
        partial.write_bytes(b"new")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "file").read_bytes() == b"new"


def test_long_names_are_possible(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)
    with atomic_path(target) as partial:
        partial.write_bytes(b"new")
    assert target.exists()


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target, words in (
        (tmp_path, "it is a folder"),
        (Path("/dev/null"), "not an ordinary file"),
        (tmp_path / "absent" / "out", "folder does not exist"),
        (tmp_path / "file" / "out", "folder is a file"),
    ):
        with pytest.raises(OutputError, match=words), atomic_path(target) as partial:
            partial.write_bytes(b"new")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
