"""What is done of a clip, kept beside the result until that is whole: a killed run goes on from there."""

import hashlib
import json
import os
import shutil
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from esc_cli.errors import OutputError
from esc_cli.storage.whole_files import make_folder, output_error, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VERSION = 1
"""Of the folder, and of what the same settings make of the same frames: goes up when either changes."""

_MANIFEST = "manifest.json"
_LONGEST_NAME_BYTES = 200


class WorkFolder:
    """The finished segments of a clip; a context manager, which leaves only what a later run can go on with.

    A segment gets its name when it is complete: ``NUMBER_PTS.mkv``, with the time stamp of its last frame.
    What was made from another input, or otherwise, is thrown away.

    Attributes:
        target: The result.
        path: Of the folder.

    Args:
        target: The result, beside which the folder lies, hidden.
        identity: All that the segments depend on, as JSON has it; None if no later run can go on.

    Raises:
        OutputError: The folder cannot be made, or another run is at work on this result.
        DiskFullError: There is no space left.
    """

    def __init__(self, target: Path, identity: Mapping[str, Any] | None) -> None:
        self.target = target
        self.path = folder_of(target)
        self._can_go_on = identity is not None
        manifest = json.dumps({"version": VERSION, **(identity or {})}, sort_keys=True)
        self._lock = _locked(self.path / _MANIFEST, target)
        try:
            if identity is None or _read(self.path / _MANIFEST) != manifest:
                self._begin(manifest)
        except OutputError:
            shutil.rmtree(self.path, ignore_errors=True)
            raise
        self._lock = self._lock or _locked(self.path / _MANIFEST, target)
        if self._lock is not None:
            weakref.finalize(self, self._lock.close)  # where nobody entered it
        self._remove_rests()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.remove()
        elif self._can_go_on and self.segments:
            self._remove_rests()
        else:
            shutil.rmtree(self.path, ignore_errors=True)  # what went wrong matters more
        self._unlock()

    def _begin(self, manifest: str) -> None:
        self.remove()
        self._unlock()
        make_folder(self.path)
        write_whole(self.path / _MANIFEST, manifest.encode("ascii"))

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _remove_rests(self) -> None:
        """Remove segments that did not become complete: they may be what fills the disk."""
        for rest in self.path.glob("*.part"):
            rest.unlink(missing_ok=True)

    @property
    def segments(self) -> tuple[Path, ...]:
        """The finished ones, in order, up to the first that is missing."""
        found = {int(path.stem.split("_")[0]): path for path in self.path.glob("*_*.mkv")}
        count = next(number for number in range(len(found) + 1) if number not in found)
        return tuple(found[number] for number in range(count))

    @property
    def last_pts(self) -> int | None:
        """The time stamp of the last finished frame; None if there is none."""
        segments = self.segments
        return int(segments[-1].stem.split("_")[1]) if segments else None

    def new_segment(self) -> Path:
        """Name the file in which the next segment is made."""
        return self.path / f"{len(self.segments):06d}.part"

    def finish(self, partial: Path, last_pts: int) -> None:
        """Give a complete segment its name, once it is on the disk.

        Raises:
            OutputError: It cannot be written.
            DiskFullError: There is no space left.
        """
        try:
            with partial.open("rb+") as file:
                os.fsync(file.fileno())
            partial.rename(self.path / f"{partial.stem}_{last_pts}.mkv")
        except OSError as error:
            raise output_error(f"cannot write {partial}", error) from error

    def remove(self) -> None:
        """Throw it away.

        Raises:
            OutputError: It cannot be removed.
        """
        try:
            shutil.rmtree(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"cannot remove {str(self.path)!r}: {error.strerror}") from error


def folder_of(target: Path) -> Path:
    """Name the folder for a result; one with a very long name goes by the name's digest."""
    name = target.name
    if len(os.fsencode(name)) > _LONGEST_NAME_BYTES:
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return target.with_name(f".{name}.esc-upscale")


def _locked(manifest: Path, target: Path) -> BinaryIO | None:
    """Keep other runs away as long as the file is open; None where there is no file, or no such locks.

    Raises:
        OutputError: Another run keeps us away.

    Source: flock(2); a lock ends with its process, however that ends.
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
            raise OutputError(f"another run is at work on {str(target)!r}") from error
        except OSError:
            return file  # a file system without locks
    return file


def _read(manifest: Path) -> str | None:
    try:
        return manifest.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return None
