"""Write files atomically, and compute their digests.

A file exists with its complete content or not at all.
"""

import errno
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from esc_cli.errors import DiskFullError, OutputError, OutputExistsError

_DESCRIPTORS = "/proc/self/fd"
"""Folder with a link for each open file. Source: proc_pid_fd(5)."""

_REASONS = {
    errno.ENOENT: "its folder does not exist",
    errno.ENOTDIR: "its folder is a file",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EFBIG: "it is larger than the disk allows for a file, or the system for this process",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
}

FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of the system that mean that no space is left."""

_UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of a system call that a file system does not have."""

_OWNERS, _OWNERS_FOLDER, _EVERYTHING = 0o600, 0o700, 0o777
"""Permission bits: of a file and of a folder for their owner alone, and all of them."""

ORDINARY_MODE = 0o666
"""Permission bits of a new file, from which the process's mask is still subtracted."""


def mode_of(sources: Iterable[Path]) -> int:
    """Return the permission bits for a file that is made from others: those that all of them have.

    Bits for executing are left out. A file that cannot be examined does not restrict them.
    """
    mode = ORDINARY_MODE
    for source in sources:
        try:
            mode &= source.stat().st_mode
        except OSError:
            continue
    return mode


def folder_mode_of(source: Path) -> int:
    """Return the permission bits for a folder of what is made from the files of another folder.

    Its owner may do everything with it.
    """
    try:
        return stat.S_IMODE(source.stat().st_mode) & _EVERYTHING | _OWNERS_FOLDER
    except OSError:
        return _EVERYTHING


@contextmanager
def atomic_path(target: Path, mode: int = ORDINARY_MODE) -> Iterator[Path]:
    """Yield the path of a temporary file to write, which is renamed to the target on success.

    The temporary file is in the target's folder and has a hidden name that ends in `.part`. It is there and
    empty. It never remains after a failure, even after Ctrl-C. If the target is a symbolic link, the file
    that it points to is written, as with `open`.

    Args:
        target: The file to write. An existing file is replaced.
        mode: Permission bits of the file, from which the process's mask is subtracted.

    Raises:
        OutputError: The target cannot be written: its folder does not exist, permission is denied, ...
        DiskFullError: There is no space left for the file.
    """
    with _hidden(target) as (partial, published):
        with _new_file(partial, mode | _OWNERS) as file:
            created = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        yield partial
        with partial.open("rb+") as file:  # opened for writing, because Windows flushes only such files
            flush_to_disk(file)
        if created & mode != created:
            with suppress(OSError):  # a disk without permissions
                partial.chmod(created & mode)
        partial.replace(published)


def write_whole(
    target: Path,
    content: bytes,
    *,
    mode: int = ORDINARY_MODE,
    replace: bool = True,
    modified_ns: int | None = None,
    before_publishing: Callable[[os.stat_result], None] | None = None,
) -> None:
    """Write a file that gets its name only when it is complete, as with ``atomic_path``.

    On systems that support it, the file has no name until then, so even a kill leaves nothing behind.

    Args:
        target: The file to write.
        content: The complete content of the file.
        mode: Permission bits of the file, from which the process's mask is subtracted.
        replace: Whether an existing file is replaced. If not, an existing file is an error, even if it
            appears at the last moment.
        modified_ns: Time of last modification of the file. None means now.
        before_publishing: Called with the status of the complete file just before the file gets its name.
            An exception from it prevents that. It is called again if the file has to be written again,
            because the first one could not get a name.

    Raises:
        OutputExistsError: The target already exists.
        OutputError: The target cannot be written: its folder does not exist, permission is denied, ...
        DiskFullError: There is no space left for the file.
    """
    with _hidden(target) as (partial, published):

        def fill(file: IO[bytes]) -> None:
            file.write(content)
            flush_to_disk(file)

        def settle(place: int | Path) -> None:
            if modified_ns is not None:
                set_modified(place, modified_ns)
            if before_publishing is not None:
                before_publishing(os.stat(place))  # noqa: PTH116 - it may be a descriptor

        if not _is_written_nameless(partial, mode, fill, settle):
            with _new_file(partial, mode) as file:
                fill(file)
            settle(partial)  # only now, because Windows sets the time when the file is closed
        if replace:
            partial.replace(published)
        else:
            _publish_new(partial, published, target)


def set_modified(place: int | Path, modified_ns: int) -> None:
    """Set the time of last modification of a file, which is named or open.

    Raises:
        OSError: The time cannot be set.
    """
    os.utime(place, ns=(os.stat(place).st_atime_ns, modified_ns))  # noqa: PTH116 - as above


def flush_to_disk(file: IO[bytes]) -> None:
    """Flush a file to the disk, so that its name never refers to an empty file after a power failure.

    Some file systems cannot do this, which is no reason to lose the file.

    Raises:
        OSError: The content could not be written.
    """
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


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


def _is_written_nameless(
    partial: Path, mode: int, fill: Callable[[IO[bytes]], None], settle: Callable[[int | Path], None]
) -> bool:
    """Write a file that gets its name afterwards. Return False if the system or the disk does not allow that.

    Android and some network disks deny links.

    Source: open(2), O_TMPFILE, and linkat(2), on naming a file that has no name.
    """
    if not hasattr(os, "O_TMPFILE") or not Path(_DESCRIPTORS).is_dir():
        return False
    try:
        descriptor = os.open(partial.parent, os.O_TMPFILE | os.O_WRONLY, mode)
    except OSError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        fill(file)
        settle(file.fileno())
        try:
            # ``src_dir_fd`` has no effect on an absolute path, but makes Python follow the symbolic link.
            os.link(f"{_DESCRIPTORS}/{file.fileno()}", partial, src_dir_fd=file.fileno())
        except OSError:
            return False
    return True


def _new_file(path: Path, mode: int) -> IO[bytes]:
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, mode), "wb")


def _publish_new(partial: Path, published: Path, target: Path) -> None:
    """Give a file a name that must be new: by a hard link, or by taking the name before a renaming.

    Raises:
        OutputExistsError: A file with this name already exists.
    """
    try:
        published.hardlink_to(partial)
    except FileExistsError as error:
        raise OutputExistsError(f"{str(target)!r} already exists") from error
    except OSError:  # the disk has no hard links
        _take_name(published, target)
        try:
            partial.replace(published)
        except BaseException:
            _remove(published)
            raise


def _take_name(published: Path, target: Path) -> None:
    try:
        _new_file(published, 0).close()
    except FileExistsError as error:
        raise OutputExistsError(f"{str(target)!r} already exists") from error


def make_folder(folder: Path, mode: int = _EVERYTHING) -> None:
    """Create a folder and its missing parents.

    Args:
        folder: The folder to create.
        mode: Permission bits of all that are created, from which the process's mask is subtracted.

    Raises:
        OutputError: The folder cannot be created.
        DiskFullError: There is no space left for the folder.
    """
    try:
        for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
            missing.mkdir(mode, exist_ok=True)
        folder.mkdir(exist_ok=True)  # fails if something else has the name
    except OSError as error:
        raise output_error(f"cannot make the folder {str(folder)!r}", error) from error


def copy_whole(source: Path, target: Path) -> None:
    """Copy a file with its date and its permissions. The copy gets its name only when it is complete.

    Raises:
        OutputExistsError: The target already exists.
        OutputError: The target cannot be written.
        DiskFullError: There is no space left for the file.
    """
    with _hidden(target) as (partial, published):
        with source.open("rb") as original, _new_file(partial, _OWNERS) as file:
            shutil.copyfileobj(original, file)
            flush_to_disk(file)
        shutil.copystat(source, partial)
        _publish_new(partial, published, target)


def output_error(what: str, error: OSError) -> OutputError:
    """Return our own error for a system error. The message begins with ``what``, the action that failed."""
    reason = _REASONS.get(error.errno or 0, error.strerror or str(error))
    kind = DiskFullError if error.errno in FULL else OutputError
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
