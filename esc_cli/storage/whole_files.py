"""Files that are there completely or not at all."""

import errno
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from esc_cli.errors import DiskFullError, OutputError, OutputExistsError

_DESCRIPTORS = "/proc/self/fd"

_REASONS = {
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}

_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which takes the target's name only when all went well.

    The file lies in the target's folder under a hidden name that ends in `.part`. Whoever writes it creates
    it, so that its permissions are those of any new file. Whatever happens (Ctrl-C too), it does not stay. A
    target that is a symbolic link is written through, as `open` would.

    Args:
        target: What to write; replaced if it is a file already.

    Raises:
        OutputError: It cannot be written: there is no such folder, no permission, ...
        DiskFullError: There is no space left for it.
    """
    with _hidden(target) as (partial, published):
        yield partial
        _flush(partial)
        partial.replace(published)


def write_whole(
    target: Path,
    content: bytes,
    *,
    replace: bool = True,
    before_publishing: Callable[[os.stat_result], None] | None = None,
) -> None:
    """Write a file that has its name only when it is complete, as ``atomic_path`` does.

    Where the system can, it has no name at all until then, so that even a kill leaves nothing behind.

    Args:
        target: What to write.
        content: All of it.
        replace: Whether a file that is there already is replaced; if not, it is an error even if it turned
            up at the last moment.
        before_publishing: Called with the complete file's status, when only its name is still missing; what
            it raises prevents that.

    Raises:
        OutputExistsError: It is there already.
        OutputError: It cannot be written: there is no such folder, no permission, ...
        DiskFullError: There is no space left for it.

    Source: open(2), O_TMPFILE, and linkat(2), on naming such a file.
    """
    with _hidden(target) as (partial, published):
        with _nameless(partial.parent) or partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if before_publishing is not None:
                before_publishing(os.fstat(file.fileno()))
            if not partial.exists():
                # The descriptor for a folder is not used: it makes Python follow the link to the file.
                os.link(f"{_DESCRIPTORS}/{file.fileno()}", partial, src_dir_fd=file.fileno())
        if replace or not _is_linked(partial, published, target):
            partial.replace(published)


def check_target(target: Path, *, replace: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Refuse before the work what would fail after it, or lose a file.

    Args:
        target: What will be written.
        replace: Whether it may be there already.
        inputs: Files that it is made from, or folders of them, where they were given; it may be none of
            these, under whatever name.

    Raises:
        OutputExistsError: It is there already.
        OutputError: Its folder does not exist, or it is an input.
    """
    if not target.parent.is_dir():
        raise OutputError(f"cannot write {target}: its folder does not exist")
    if not target.exists():
        return
    if any(path is not None and _is_of(target, path) for path in inputs):
        raise OutputError(
            f"{str(target)!r} is an input, and results never replace inputs", hint="choose another name"
        )
    if not replace:
        raise OutputExistsError(
            f"{str(target)!r} is there already", hint="choose another name, or --overwrite"
        )


def _is_of(target: Path, source: Path) -> bool:
    return source.exists() and (target.samefile(source) or source.resolve() in target.resolve().parents)


@contextmanager
def _hidden(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the path of a file that does not stay, and the one whose name it is to take, links resolved."""
    published = Path(os.path.realpath(target))
    partial = _partial_path(published)
    try:
        _check_replaceable(published)
        yield partial, published
    except OSError as error:
        raise output_error(f"cannot write {target}", error) from error
    finally:
        _remove(partial)


def _is_linked(partial: Path, published: Path, target: Path) -> bool:
    """Give a file its name, unless there is one of that name; False where the file system knows no links.

    Raises:
        OutputExistsError: There is one.
    """
    try:
        published.hardlink_to(partial)
    except FileExistsError as error:
        raise OutputExistsError(f"{str(target)!r} is there already") from error
    except OSError:
        return False
    return True


def _nameless(folder: Path) -> IO[bytes] | None:
    """Open a new file without a name; None where the system or the file system cannot."""
    if not hasattr(os, "O_TMPFILE") or not Path(_DESCRIPTORS).is_dir():
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError:
        return None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises:
        OutputError: It cannot be made.
        DiskFullError: There is no space left for it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"cannot make the folder {str(folder)!r}", error) from error


def output_error(what: str, error: OSError) -> OutputError:
    """Make our own error of the system's, with what could not be done as the sentence's beginning."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    kind = DiskFullError if error.errno in _FULL else OutputError
    return kind(f"{what}: {reason}")


def _partial_path(target: Path) -> Path:
    """A name nobody else uses; cut, since most file systems end at 255 bytes and a character has up to 4."""
    return target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.part")


def _check_replaceable(target: Path) -> None:
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder")
    if target.exists() and not target.is_file():
        # Renaming over /dev/null would replace the device for everybody on the machine.
        raise OutputError(f"cannot write {target}: it is not an ordinary file", hint="write to - (stdout)")


def _flush(path: Path) -> None:
    """Bring a file to the disk, so that after a power cut its name never stands for an empty file."""
    with path.open("rb+") as file:  # for writing, as Windows flushes no other
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder is not there or not ours: then neither is the file
