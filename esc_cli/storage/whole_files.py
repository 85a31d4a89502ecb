"""Write files atomically, and compute their digests.

A file exists with its complete content or not at all.
"""

import errno
import hashlib
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
    """Yield the path of a temporary file to write, which is renamed to the target on success.

    The temporary file is in the target's folder and has a hidden name that ends in `.part`. The caller
    creates it, so it has the permissions of any new file. It never remains after a failure, even after
    Ctrl-C. If the target is a symbolic link, the file that it points to is written, as with `open`.

    Args:
        target: The file to write. An existing file is replaced.

    Raises:
        OutputError: The target cannot be written: its folder does not exist, permission is denied, ...
        DiskFullError: There is no space left for the file.
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
    """Write a file that gets its name only when it is complete, as with ``atomic_path``.

    On systems that support it, the file has no name until then, so even a kill leaves nothing behind.

    Args:
        target: The file to write.
        content: The complete content of the file.
        replace: Whether an existing file is replaced. If not, an existing file is an error, even if it
            appears at the last moment.
        before_publishing: Called with the status of the complete file just before the file gets its name.
            An exception from it prevents that.

    Raises:
        OutputExistsError: The target already exists.
        OutputError: The target cannot be written: its folder does not exist, permission is denied, ...
        DiskFullError: There is no space left for the file.

    Source: open(2), O_TMPFILE, and linkat(2), on naming a file that has no name.
    """
    with _hidden(target) as (partial, published):
        with _nameless(partial.parent) or partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            if before_publishing is not None:
                before_publishing(os.fstat(file.fileno()))
            if not partial.exists():
                # ``src_dir_fd`` has no effect on an absolute path, but makes Python follow the symbolic link.
                os.link(f"{_DESCRIPTORS}/{file.fileno()}", partial, src_dir_fd=file.fileno())
        if replace or not _is_linked(partial, published, target):
            partial.replace(published)


def check_target(target: Path, *, replace: bool, inputs: Iterable[Path | None] = ()) -> None:
    """Check before the work starts that the target can be written and that no input would be lost.

    Args:
        target: The file that will be written.
        replace: Whether the target may already exist.
        inputs: The input files, or folders of input files. None is skipped. The target must not be one of
            them, even under another name.

    Raises:
        OutputExistsError: The target already exists.
        OutputError: The target's folder does not exist, or the target is an input.
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
            f"{str(target)!r} already exists", hint="choose another name, or use --overwrite"
        )


def _is_of(target: Path, source: Path) -> bool:
    return source.exists() and (target.samefile(source) or source.resolve() in target.resolve().parents)


@contextmanager
def _hidden(target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the path of a temporary file, which is removed at the end, and the target with links resolved."""
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
    """Give a file its name by a hard link. Return False if the file system does not support hard links.

    Raises:
        OutputExistsError: A file with this name already exists.
    """
    try:
        published.hardlink_to(partial)
    except FileExistsError as error:
        raise OutputExistsError(f"{str(target)!r} already exists") from error
    except OSError:
        return False
    return True


def _nameless(folder: Path) -> IO[bytes] | None:
    """Open a new file without a name. Return None if the system or the file system does not support it."""
    if not hasattr(os, "O_TMPFILE") or not Path(_DESCRIPTORS).is_dir():
        return None
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666), "wb")
    except OSError:
        return None


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents.

    Raises:
        OutputError: The folder cannot be created.
        DiskFullError: There is no space left for the folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(f"cannot make the folder {str(folder)!r}", error) from error


def output_error(what: str, error: OSError) -> OutputError:
    """Return our own error for a system error. The message begins with ``what``, the action that failed."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    kind = DiskFullError if error.errno in _FULL else OutputError
    return kind(f"{what}: {reason}")


def _partial_path(target: Path) -> Path:
    """Return a unique temporary path beside the target.

    The target's name is cut to 40 characters because most file systems allow 255 bytes for a name, and a
    character has up to 4 bytes.
    """
    return target.with_name(f".{target.name[:40]}.{os.getpid()}-{secrets.token_hex(4)}.part")


def _check_replaceable(target: Path) -> None:
    if target.is_dir():
        raise OutputError(f"cannot write {target}: it is a folder")
    if target.exists() and not target.is_file():
        # Renaming a file to /dev/null would replace the device for everybody on the machine.
        raise OutputError(f"cannot write {target}: it is not an ordinary file", hint="write to - (stdout)")


def _flush(path: Path) -> None:
    """Flush a file to the disk, so that its name never refers to an empty file after a power failure."""
    with path.open("rb+") as file:  # opened for writing, because Windows flushes only such files
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # the folder does not exist or is not writable, so the file was not created either


def file_sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
