"""Keep the finished parts of a result in a hidden folder beside it until it is complete, to resume a run.

The parts are the segments of a clip or the pages of an archive. Each gets its name when it is complete.
"""

import json
import os
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from esc_cli.errors import OutputError
from esc_cli.jobs.record import Recipe, Stamp, short_name
from esc_cli.jobs.sources import Source
from esc_cli.media.video.sequence_names import sequence_names
from esc_cli.storage.whole_files import make_folder, output_error, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_HAS_LOCKS = fcntl is not None

VERSION = 2
"""Version of the folders.

It increases when the folders change, or when the same settings make different parts from the same input.
"""

_MANIFEST = "manifest.json"


class Parts:
    """The finished parts of a result, in the folder that a ``LockedFolder`` of any process keeps.

    Attributes:
        pattern: Pattern of the names of finished parts.
        target: The file of the result.
        path: The path of the folder.

    Args:
        target: The file of the result. The folder is hidden and lies beside it.
        identity: Everything that the parts depend on, as a JSON object. None if no later run can resume.
    """

    pattern: ClassVar[str]

    def __init__(self, target: Path, identity: Mapping[str, Any] | None) -> None:
        self.target = target
        self.path = folder_of(target)
        self._manifest = json.dumps({"version": VERSION, **(identity or {})}, sort_keys=True)

    @property
    def found(self) -> dict[int, Path]:
        """All finished parts, by their numbers."""
        return {number_of(path): path for path in self.path.glob(self.pattern)}

    def check_owner(self) -> None:
        """Check that no other run has begun anew in this folder.

        Raises:
            OutputError: Another run has begun anew, with other settings.
        """
        if _read(self.path / _MANIFEST) != self._manifest:
            raise _busy(self.target)


class LockedFolder(Parts):
    """The folder of a result's finished parts, and the lock that keeps other runs away.

    It is a context manager that leaves only files from which a later run can resume. Parts that were made
    from another input or with other settings are deleted. Only the owner can enter the folder, since the
    result may be private.

    Args:
        target: The file of the result. The folder is hidden and lies beside it.
        identity: Everything that the parts depend on, as a JSON object. None if no later run can resume.

    Raises:
        OutputError: The folder cannot be made, or another run is working on this result.
        DiskFullError: There is no space left.
    """

    def __init__(self, target: Path, identity: Mapping[str, Any] | None) -> None:
        super().__init__(target, identity)
        self._can_go_on = identity is not None
        self._is_removed = False
        lock = _locked(self.path, target)
        # The lock is released at the end, or with the object if the context is never entered.
        self._unlock = (lambda: None) if lock is None else weakref.finalize(self, os.close, lock)
        try:
            if identity is None or _read(self.path / _MANIFEST) != self._manifest:
                self._begin()
        except OutputError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._remove_incomplete_parts()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(is_joined=kind is None)

    def close(self, *, is_joined: bool) -> None:
        """Remove the folder, or leave what a later run can continue, and release the lock.

        Args:
            is_joined: Whether the parts were joined to the result, so that they are not needed any more.

        Raises:
            OutputError: The folder of a result that is complete cannot be removed.
        """
        if self._is_removed:
            return
        if is_joined:
            self.remove()
        elif self._can_go_on and self.found:
            self._remove_incomplete_parts()
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # the original error matters more
        self._unlock()

    def _begin(self) -> None:
        """Empty the folder, which stays, since the lock is on it."""
        with self._removing():
            for old in self.path.iterdir():
                if old.is_dir() and not old.is_symlink():
                    shutil.rmtree(old)
                else:
                    old.unlink(missing_ok=True)  # without locks, another run may remove its incomplete parts
        write_whole(self.path / _MANIFEST, self._manifest.encode("ascii"))

    def _remove_incomplete_parts(self) -> None:
        """Remove incomplete parts, which may be the reason that the disk is full."""
        for rest in self.path.glob("*.part"):
            rest.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder, and release the lock. From then on, the folder may be that of another run.

        Raises:
            OutputError: The folder cannot be removed.
        """
        with self._removing():
            shutil.rmtree(self.path)
        self._is_removed = True
        self._unlock()

    @contextmanager
    def _removing(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"cannot remove {str(self.path)!r}: {error.strerror}") from error


def identity_of(source: Source, recipe: Recipe, model: str) -> dict[str, Any] | None:
    """Return everything that the parts of a result depend on, as a JSON object.

    Args:
        source: The input. Its bytes count, not its name.
        recipe: Everything else that the result depends on.
        model: The name of the model that was chosen.

    Returns:
        The object, or None for a pipe, which can be read only once.
    """
    content, shared = source.content, {"recipe": recipe, "model": model}
    if not isinstance(content, Path):
        return None
    if content.is_file():
        stamp = Stamp.of(content)
        return {"size_bytes": stamp.size_bytes, "sha256": stamp.sha256, **shared}
    digests = {file.name: Stamp.of(file).sha256 for file in sequence_names(str(content)).files()}
    return {"files": digests, **shared}


def number_of(part: Path) -> int:
    """Return the number of a finished part, counted from 0."""
    return int(part.stem.split("_")[0])


@contextmanager
def noting(notes: Callable[[], tuple[str, ...]]) -> Iterator[None]:
    """Note on the exception of a signal, such as Ctrl-C, what is done. No note is repeated."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        for note in notes():
            if note not in getattr(error, "__notes__", ()):
                error.add_note(note)
        raise


def folder_of(target: Path) -> Path:
    """Return the folder for a result."""
    return target.with_name(f".{short_name(target)}.esc-upscale")


def _locked(folder: Path, target: Path) -> int | None:
    """Create the folder of a result if it does not exist, and lock it, which keeps other runs away.

    The folder itself is locked, because its files are replaced when a run begins anew. Between the opening
    and the locking, the run that owned the folder may have removed it.

    Returns:
        A descriptor that holds the lock as long as it is open, or None if the system has no such locks. It
        holds no lock if the file system has none.

    Raises:
        OutputError: Another run holds the lock, or the folder cannot be created.

    Source: flock(2). A lock ends with its process, however the process ends.
    """
    while True:
        make_folder(folder, mode=0o700)
        if not _HAS_LOCKS:
            return None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise output_error(f"cannot open {str(folder)!r}", error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise _busy(target) from error
        except OSError:
            return lock  # a file system without locks
        if _is_still(lock, folder):
            return lock
        os.close(lock)


def _busy(target: Path) -> OutputError:
    return OutputError(
        f"another run is working on {str(target)!r}",
        hint="run the same command again when it has ended",
    )


def _is_still(descriptor: int, folder: Path) -> bool:
    """Return whether an open folder has this name."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _read(manifest: Path) -> str | None:
    try:
        return manifest.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
