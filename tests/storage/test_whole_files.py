import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from esc_cli.errors import DiskFullError, OutputError, OutputExistsError
from esc_cli.storage import whole_files
from esc_cli.storage.whole_files import atomic_path, check_target, make_folder, mode_of, write_whole


@pytest.fixture(params=["without a name", "under a hidden name"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Select one of the two ways to hide a file until it is complete. Some systems lack the first way."""
    if request.param == "under a hidden name":
        monkeypatch.setattr(whole_files, "_DESCRIPTORS", "/nowhere")
    elif not hasattr(os, "O_TMPFILE"):
        pytest.skip("this system has no files without names")


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
@pytest.mark.parametrize(
    ("number", "reason"),
    [(errno.ENOSPC, "the disk is full"), (errno.EFBIG, "it is larger than the disk allows for a file")],
)
def test_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, reason: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "a sentence of the system")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OutputError, match=reason), atomic_path(tmp_path / "out.bin") as partial:
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


@pytest.mark.parametrize(
    ("mode", "mask", "result"),
    [
        (0o600, 0o022, 0o600),
        (0o640, 0o022, 0o640),
        (0o664, 0o022, 0o644),
        (0o664, 0o002, 0o664),
        (0o644, 0o077, 0o600),
        (0o444, 0o022, 0o444),
        (0o755, 0o022, 0o644),
        (0o4666, 0o022, 0o644),
    ],
)
def test_a_result_is_no_more_open_than_its_source(
    tmp_path: Path, either_way: None, mode: int, mask: int, result: int
) -> None:
    source = tmp_path / "source"
    source.touch()
    source.chmod(mode)
    before = os.umask(mask)
    seen: list[int] = []
    try:
        for target in (tmp_path / "whole", tmp_path / "whole"):
            write_whole(
                target,
                b"new",
                mode=mode_of([source]),
                before_publishing=lambda status: seen.append(stat.S_IMODE(status.st_mode)),
            )
        with atomic_path(tmp_path / "stepwise", mode_of([source])) as partial:
            seen.append(stat.S_IMODE(partial.stat().st_mode) & ~0o200)
            partial.write_bytes(b"new")
    finally:
        os.umask(before)
    for name in ("whole", "stepwise"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == result
        assert (tmp_path / name).read_bytes() == b"new"
    assert all(bits & ~result & 0o077 == 0 for bits in seen)


def test_a_result_of_several_is_as_closed_as_each(tmp_path: Path) -> None:
    for name, mode in (("a", 0o640), ("b", 0o604)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    assert mode_of([tmp_path / "a", tmp_path / "b", tmp_path / "missing"]) == 0o600
    assert mode_of([]) == 0o666


def deny(monkeypatch: pytest.MonkeyPatch, call: str, number: int) -> None:
    def denied(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, denied)


@pytest.mark.parametrize(
    "number",
    [errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV],
)
def test_disks_without_hard_links(
    tmp_path: Path, either_way: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Android denies links (EACCES), and FAT and some network disks do not have them."""
    deny(monkeypatch, "link", number)
    target = tmp_path / "out.bin"
    statuses: list[os.stat_result] = []
    write_whole(target, b"ours", mode=0o600, replace=False, before_publishing=statuses.append)
    assert target.read_bytes() == b"ours"
    assert target.stat().st_mtime_ns == statuses[-1].st_mtime_ns
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    with pytest.raises(OutputExistsError):
        write_whole(target, b"other", replace=False)
    assert target.read_bytes() == b"ours"
    write_whole(target, b"newer")
    assert target.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [target]


def test_what_turns_up_without_hard_links_stays(
    tmp_path: Path, either_way: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, "link", errno.EPERM)
    target = tmp_path / "out.bin"
    with pytest.raises(OutputExistsError):
        write_whole(
            target, b"ours", replace=False, before_publishing=lambda _: target.write_bytes(b"somebody else's")
        )
    assert target.read_bytes() == b"somebody else's"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failed_renaming_without_hard_links_leaves_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deny(monkeypatch, "link", errno.EPERM)
    deny(monkeypatch, "replace", errno.EIO)
    with pytest.raises(OutputError):
        write_whole(tmp_path / "out.bin", b"ours", replace=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_disks_that_cannot_flush(
    tmp_path: Path, either_way: None, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    deny(monkeypatch, "fsync", number)
    write_whole(tmp_path / "whole", b"new")
    with atomic_path(tmp_path / "stepwise") as partial:
        partial.write_bytes(b"new")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"new", b"new"]


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


def test_a_whole_file_appears_at_the_end(tmp_path: Path, either_way: None) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    seen: list[tuple[int, bytes]] = []
    write_whole(
        target, b"new!", before_publishing=lambda status: seen.append((status.st_size, target.read_bytes()))
    )
    assert seen == [(4, b"old")]
    assert target.read_bytes() == b"new!"
    assert list(tmp_path.iterdir()) == [target]
    (tmp_path / "plain").write_bytes(b"")
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_comes_before_the_name_may_prevent_it(
    tmp_path: Path, either_way: None, error: type[BaseException]
) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")

    def prevent(status: os.stat_result) -> None:
        raise error

    with pytest.raises(error):
        write_whole(target, b"new", before_publishing=prevent)
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_has_an_error_of_its_own(
    tmp_path: Path, either_way: None, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        write_whole(tmp_path / "out.bin", b"new")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="this system has no files without names")
def test_a_kill_just_before_the_name_leaves_nothing(tmp_path: Path) -> None:
    program = (
        "import os, pathlib, signal, sys; from esc_cli.storage.whole_files import write_whole\n"
        "write_whole(pathlib.Path(sys.argv[1]), b'x' * 10**6,"
        " before_publishing=lambda status: os.kill(os.getpid(), signal.SIGKILL))"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(tmp_path / "out.bin")], check=False)
    assert ended.returncode == -9
    assert list(tmp_path.iterdir()) == []


def test_where_no_whole_file_can_be_written(tmp_path: Path, either_way: None) -> None:
    (tmp_path / "file").write_bytes(b"")
    for target, words in (
        (tmp_path, "it is a folder"),
        (Path("/dev/null"), "not an ordinary file"),
        (tmp_path / "absent" / "out", "folder does not exist"),
        (tmp_path / "file" / "out", "folder is a file"),
    ):
        with pytest.raises(OutputError, match=words):
            write_whole(target, b"new")
    with pytest.raises(OutputError, match="cannot make the folder"):
        make_folder(tmp_path / "file" / "folder")


def test_what_turns_up_at_the_last_moment_stays(tmp_path: Path, either_way: None) -> None:
    target = tmp_path / "out.bin"

    def turn_up(status: os.stat_result) -> None:
        target.write_bytes(b"somebody else's")

    with pytest.raises(OutputExistsError):
        write_whole(target, b"ours", replace=False, before_publishing=turn_up)
    assert target.read_bytes() == b"somebody else's"
    target.unlink()
    write_whole(target, b"ours", replace=False)
    assert target.read_bytes() == b"ours"
    assert list(tmp_path.iterdir()) == [target]


def test_what_may_become_a_target(tmp_path: Path) -> None:
    source, link = tmp_path / "in.png", tmp_path / "link.png"
    source.write_bytes(b"picture")
    link.symlink_to(source)
    check_target(tmp_path / "new.png", replace=False, inputs=[source, tmp_path / "missing.png"])
    check_target(source, replace=True)
    with pytest.raises(OutputExistsError, match="already exists"):
        check_target(source, replace=False)
    for name in (source, link):
        with pytest.raises(OutputError, match="never replace inputs"):
            check_target(name, replace=True, inputs=[source])
    with pytest.raises(OutputError, match="never replace inputs"):
        check_target(source, replace=True, inputs=[tmp_path])
    with pytest.raises(OutputError, match="folder does not exist"):
        check_target(tmp_path / "nowhere" / "new.png", replace=True)
