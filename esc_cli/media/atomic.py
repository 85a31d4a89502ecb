"""Files that are there completely or not at all."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from esc_cli.errors import OutputError

_REASONS = {
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield the path of a file to write, which takes the target's name only when all went well.

    The file lies in the target's folder under a hidden name that ends in `.part`. Whoever writes it creates
    it, so that its permissions are those of any new file. Whatever happens (Ctrl-C too), it does not stay. A
    target that is a symbolic link is written through, as `open` would.

    Args:
        target: What to write; replaced if it is a file already.

    Raises:
        OutputError: It cannot be written: there is no such folder, no permission, no space, ...
    """
    published = Path(os.path.realpath(target))
    partial = _partial_path(published)
    try:
        _check_replaceable(published)
        yield partial
        _flush(partial)
        partial.replace(published)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
        raise OutputError(f"cannot write {target}: {reason}") from error
    finally:
        _remove(partial)


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
