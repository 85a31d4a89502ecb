"""Keep the finished segments of a clip beside the result until it is complete, so that a run can resume."""

import secrets
import time
from pathlib import Path

from esc_cli.errors import OutputError
from esc_cli.jobs.work_folder import LockedFolder, Parts, number_of
from esc_cli.media.video.frame import UNDAMAGED, Damage
from esc_cli.storage.whole_files import flush_to_disk, output_error

_UNKNOWN = "unknown"

_SEEN_WITHIN_S = 90.0
"""Time in which this machine must see the segments that others have finished.

A network file system may show new files after a minute. Source: nfs(5), acdirmax.
"""

_LOOKS_EVERY_S = 0.5


class Segments(Parts):
    """The finished segments of a clip, in the folder that a ``WorkFolder`` of this or another process keeps.

    A complete segment is named ``NUMBER_FRAMES_PTS.mkv``, where FRAMES is the number of its frames, and PTS
    is the timestamp of the last one, or ``unknown`` if a seek does not find it. If there is damage in it, the
    numbers of lost, repaired and resized frames follow: ``NUMBER_FRAMES_PTS_LOST_REPAIRED_RESIZED.mkv``.
    Segments may be missing, because several workers make them.

    Attributes:
        target: The file of the result.
        path: The path of the folder.

    Args:
        target: The file of the result. The folder is hidden and lies beside it.
        identity: Everything that the segments depend on, as a JSON object. None if no later run can resume.
    """

    pattern = "*_*_*.mkv"

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
        """The damage in ``frames``, also in those that earlier runs made."""
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
        counts = "" if damage == UNDAMAGED else f"_{damage.lost}_{damage.repaired}_{damage.resized}"
        try:
            with partial.open("rb+") as file:
                flush_to_disk(file)
            self.check_owner()
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
        for path in self.path.glob(self.pattern):
            try:
                if number_of(path) >= number:
                    path.unlink(missing_ok=True)
            except OSError as error:
                raise OutputError(f"cannot remove {str(path)!r}: {error.strerror}") from error


class WorkFolder(LockedFolder, Segments):
    """The folder of a clip's finished segments, and the lock that keeps other runs away.

    It is a context manager; see ``LockedFolder``.
    """


def frames_in(segment: Path) -> int:
    """Return the number of frames in a finished segment."""
    return int(segment.stem.split("_")[1])


def last_pts_in(segment: Path) -> int | None:
    """Return the timestamp of the last frame in a finished segment; None if a seek does not find it."""
    pts = segment.stem.split("_")[2]
    return None if pts == _UNKNOWN else int(pts)
