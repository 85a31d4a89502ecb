"""Keep the finished segments of a clip beside the result until it is complete, so that a run can resume."""

import json
import secrets
import shutil
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Self

from esc_cli.errors import OutputError
from esc_cli.jobs.record import short_name
from esc_cli.media.video.reader import UNDAMAGED, Damage
from esc_cli.storage.whole_files import flush_to_disk, make_folder, output_error, write_whole

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

VERSION = 2
"""Version of the folder.

It increases when the folder changes, or when the same settings make different segments from the same frames.
"""

_MANIFEST = "manifest.json"
_UNKNOWN = "unknown"

_SEEN_WITHIN_S = 90.0
"""Time in which this machine must see the segments that others have finished.

A network file system may show new files after a minute. Source: nfs(5), acdirmax.
"""

_LOOKS_EVERY_S = 0.5


class Segments:
    """The finished segments of a clip, in the folder that a ``WorkFolder`` of this or another process keeps.

    A complete segment is named ``NUMBER_FRAMES_PTS.mkv``, where FRAMES is the number of its frames, and PTS
    is the timestamp of the last one, or ``unknown`` if a seek does not find it. If there is damage in it, the
    numbers of lost and of repaired frames follow: ``NUMBER_FRAMES_PTS_LOST_REPAIRED.mkv``. Segments may be
    missing, because several workers make them.

    Attributes:
        target: The file of the result.
        path: The path of the folder.

    Args:
        target: The file of the result. The folder is hidden and lies beside it.
        identity: Everything that the segments depend on, as a JSON object. None if no later run can resume.
    """

    def __init__(self, target: Path, identity: Mapping[str, Any] | None) -> None:
        self.target = target
        self.path = folder_of(target)
        self._manifest = json.dumps({"version": VERSION, **(identity or {})}, sort_keys=True)

    @property
    def found(self) -> dict[int, Path]:
        """All finished segments, by their numbers."""
        return {number_of(path): path for path in self.path.glob("*_*_*.mkv")}

    @property
    def segments(self) -> tuple[Path, ...]:
        """The finished segments, in order, up to the first that is missing."""
        found = self.found
        count = next(number for number in range(len(found) + 1) if number not in found)
        return tuple(found[number] for number in range(count))

    @property
    def gap(self) -> int | None:
        """Number of segments that are missing before the next finished one; None if none follows."""
        count = len(self.segments)
        return min((number - count for number in self.found if number > count), default=None)

    @property
    def frames(self) -> int:
        """The number of frames in the finished segments up to the first that is missing."""
        return sum(map(frames_in, self.segments))

    @property
    def frames_in_all(self) -> int:
        """The number of frames in all finished segments."""
        return sum(map(frames_in, self.found.values()))

    @property
    def last_pts(self) -> int | None:
        """The timestamp of the last frame in ``frames``; None if there is none, or if it is not known."""
        segments = self.segments
        return last_pts_in(segments[-1]) if segments else None

    @property
    def damage(self) -> Damage:
        """The damage in the frames of all finished segments, also of those that earlier runs made."""
        counts = (map(int, path.stem.split("_")[3:]) for path in self.segments)
        return sum((Damage(*count) for count in counts), UNDAMAGED)

    def new_segment(self, number: int) -> Path:
        """Return the path of a file in which a segment is made. No other process has the same path."""
        return self.path / f"{number:06d}-{secrets.token_hex(4)}.part"

    def finish(self, partial: Path, frames: int, last_pts: int | None, damage: Damage = UNDAMAGED) -> None:
        """Flush a complete segment to the disk, and then give it its name.

        Args:
            partial: The file of the segment.
            frames: Number of its frames.
            last_pts: Timestamp of its last frame; None if a seek does not find that frame.
            damage: The damage in its frames.

        Raises:
            OutputError: The segment cannot be written, or another run has begun anew with other settings.
            DiskFullError: There is no space left.
        """
        number = partial.stem.split("-")[0]
        pts = _UNKNOWN if last_pts is None else last_pts
        counts = "" if damage == UNDAMAGED else f"_{damage.lost}_{damage.repaired}"
        try:
            with partial.open("rb+") as file:
                flush_to_disk(file)
            if _read(self.path / _MANIFEST) != self._manifest:
                raise OutputError(f"another run is working on {str(self.target)!r}")
            partial.replace(self.path / f"{number}_{frames}_{pts}{counts}.mkv")
        except OSError as error:
            raise output_error(f"cannot write {partial}", error) from error

    def wait_for(self, frames: int) -> None:
        """Wait until this machine sees all segments, which other machines have finished.

        Args:
            frames: Number of frames in all segments.

        Raises:
            OutputError: The segments do not appear.
        """
        begun = time.monotonic()
        while (seen := self.frames) != frames:
            if time.monotonic() - begun > _SEEN_WITHIN_S:
                raise OutputError(
                    f"this machine sees {seen} of {frames} finished frames in {str(self.path)!r}"
                )
            time.sleep(_LOOKS_EVERY_S)

    def forget(self, number: int) -> None:
        """Remove a segment and all later ones.

        Raises:
            OutputError: A segment cannot be removed.
        """
        for path in self.path.glob("*_*_*.mkv"):
            try:
                if number_of(path) >= number:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {str(path)!r}: {error.strerror}") from error


class WorkFolder(Segments):
    """The folder of a clip's finished segments, and the lock that keeps other runs away.

    It is a context manager that leaves only files from which a later run can resume. Segments that were made
    from another input or with other settings are deleted. Only the owner can enter the folder, since the clip
    may be private.

    Attributes:
        target: The file of the result.
        path: The path of the folder.

    Args:
        target: The file of the result. The folder is hidden and lies beside it.
        identity: Everything that the segments depend on, as a JSON object. None if no later run can resume.

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
        self._remove_rests()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(is_joined=kind is None)

    def close(self, *, is_joined: bool) -> None:
        """Remove the folder, or leave what a later run can continue, and release the lock.

        Args:
            is_joined: Whether the segments were joined to the result, so that they are not needed any more.

        Raises:
            OutputError: The folder of a result that is complete cannot be removed.
        """
        if is_joined:
            self.remove()
        elif self._can_go_on and self.found:
            self._remove_rests()
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

    def _remove_rests(self) -> None:
        """Remove incomplete segments, which may be the reason that the disk is full."""
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


def number_of(segment: Path) -> int:
    """Return the number of a finished segment, counted from 0."""
    return int(segment.stem.split("_")[0])


def frames_in(segment: Path) -> int:
    """Return the number of frames in a finished segment."""
    return int(segment.stem.split("_")[1])


def last_pts_in(segment: Path) -> int | None:
    """Return the timestamp of the last frame in a finished segment; None if a seek does not find it."""
    pts = segment.stem.split("_")[2]
    return None if pts == _UNKNOWN else int(pts)


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
