"""Keep the finished parts of a result in a hidden folder beside it until it is complete, to resume a run.

The parts are the segments of a clip or the pages of an archive. Each gets its name when it is complete.
"""

import json
import shutil
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self

from esc_cli.errors import OutputError
from esc_cli.jobs.record import Recipe, Stamp, short_name
from esc_cli.jobs.sources import Source
from esc_cli.media.video.sequence_names import sequence_names
from esc_cli.storage.whole_files import make_folder, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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
            raise OutputError(f"another run is working on {str(self.target)!r}")


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
        self._lock = _locked(self.path / _MANIFEST, target)
        try:
            if identity is None or _read(self.path / _MANIFEST) != self._manifest:
                self._begin()
        except OutputError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._lock = self._lock or _locked(self.path / _MANIFEST, target)
        if self._lock is not None:
            weakref.finalize(self, self._lock.close)  # if the context is never entered
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
        if is_joined:
            self.remove()
        elif self._can_go_on and self.found:
            self._remove_incomplete_parts()
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # the original error matters more
        self._unlock()

    def _begin(self) -> None:
        self.remove()
        self._unlock()
        make_folder(self.path, mode=0o700)
        write_whole(self.path / _MANIFEST, self._manifest.encode("ascii"))

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _remove_incomplete_parts(self) -> None:
        """Remove incomplete parts, which may be the reason that the disk is full."""
        for rest in self.path.glob("*.part"):
            rest.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder.

        Raises:
            OutputError: The folder cannot be removed.
        """
        try:
            shutil.rmtree(self.path)
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


def _locked(manifest: Path, target: Path) -> BinaryIO | None:
    """Open the manifest and lock it, which keeps other runs away as long as the file is open.

    Returns:
        The open file, or None if it does not exist. It is not locked if the system has no such locks.

    Raises:
        OutputError: Another run holds the lock.

    Source: flock(2). A lock ends with its process, however the process ends.
    """
    try:
        file = manifest.open("rb")
    except OSError:
        return None
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise OutputError(f"another run is working on {str(target)!r}") from error
        except OSError:
            return file  # a file system without locks
    return file


def _read(manifest: Path) -> str | None:
    try:
        return manifest.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
