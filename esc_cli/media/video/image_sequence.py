"""Reading and writing numbered pictures as a clip, such as `frames/%06d.png`, with this program's own code.

FFmpeg's image2 would be enough for 8 bits, but it writes neither lossless WebP nor AVIF with alpha, is not
atomic, and ignores color profiles.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Self

from torch import Tensor

from esc_cli.errors import DamageError, InputError, UsageError
from esc_cli.media.color.conversion import to_srgb
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.light import to_screen
from esc_cli.media.limitations import limitations
from esc_cli.media.picture import DEFAULT_SETTINGS, Picture, PictureFile, WriteSettings
from esc_cli.media.pixels.depth import with_depth
from esc_cli.media.probe import Probe, probe
from esc_cli.media.read import read_file
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.frame import Damage, Frame
from esc_cli.media.video.picture_clips import clip_of_pictures, notes_on_pictures, notes_on_streams
from esc_cli.media.video.sequence_names import sequence_names
from esc_cli.media.write import encode_file
from esc_cli.storage.whole_files import ORDINARY_MODE, make_folder, write_whole


class _Kind(NamedTuple):
    """The properties that all pictures of a sequence must share."""

    height: int
    width: int
    deep: bool
    alpha: bool

    def __str__(self) -> str:
        depth = "more than 8 bits" if self.deep else "8 bits"
        return (
            f"{self.width}x{self.height} pixels of {depth} {'with' if self.alpha else 'without'} transparency"
        )


class SequenceReader:
    """A context manager that reads an image sequence as the frames of a clip.

    The sequence begins with the lowest number for which there is a file. A frame's timestamp is its index,
    counted from 0, and the time base is the duration of a frame. All headers are read before the first frame,
    so a sequence that cannot be one clip is refused before any work (0.7 ms for a PNG, 0.1 ms for a JPEG).

    Attributes:
        clip: Facts about the clip that will be encoded from the pictures. It is BT.709 of limited range with
            4:2:0 chroma, which every player supports, or of full range if all pictures are gray. Its codec is
            the name of the first picture's format.
        skipped: Always 0, because a sequence with a damaged first picture is refused.

    Args:
        pattern: A name for which ``is_sequence`` returns True.
        frame_rate: Frame rate, in frames per second.
        start_s: Start time. The first frame is the first one at or after this time. None means the beginning.
        end_s: End time. Frames at or after this time are left out. None means the end.
        strict: Whether damaged pictures are refused. If not, the last good one stands in for them.

    Raises:
        UsageError: The frame rate is not above 0, or the pattern does not have exactly one number.
        InputError: There are no matching files; a file in between is missing; a file is not exactly one
            picture; or a picture differs from the first one in size, depth (8 bits or more) or transparency.
    """

    def __init__(
        self,
        pattern: str,
        frame_rate: Fraction,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        strict: bool = False,
    ) -> None:
        if frame_rate <= 0:
            raise UsageError(f"the frame rate must be above 0, not {frame_rate}")
        self.skipped = 0
        self._strict = strict
        self._paths = sequence_names(pattern).files()
        self.clip: Clip = _surveyed(self._paths, Fraction(frame_rate))
        self._begin = 0 if start_s is None else max(0, self.clip.pts_at(start_s))
        self._end = len(self._paths) if end_s is None else max(0, self.clip.pts_at(end_s))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Do nothing, because no file stays open."""

    def __iter__(self) -> Iterator[Frame]:
        """Iterate over the frames; this is possible any number of times.

        Raises:
            InputError: The size, depth or transparency of a picture has changed in the meantime; or the first
                picture is damaged; or, if strict, any picture is.
        """
        return self.frames_from(self._begin)

    def times(self) -> tuple[int, ...]:
        """Return the timestamps of the frames that iteration yields."""
        return tuple(range(self._begin, min(self._end, len(self._paths))))

    def peek(self) -> Tensor:
        """Return the color of the first picture, (1, 3, H, W).

        Raises:
            InputError: The picture cannot be read; see ``__iter__``.
        """
        return _read(self._paths[0], _kind_of_clip(self.clip)).color

    def frames_from(self, pts: int) -> Iterator[Frame]:
        """Yield the frames from a timestamp on.

        Args:
            pts: Timestamp of the first frame, which is its index.

        Raises:
            InputError: A picture cannot be read; see ``__iter__``.
        """
        before: Frame | None = None
        for index in range(max(0, pts), min(self._end, len(self._paths))):
            try:
                before = self._frame(index)
            except DamageError:
                if self._strict:
                    raise
                before = replace(before or self._good_before(index), pts=index, damage=Damage(lost=1))
            yield before

    def _frame(self, index: int) -> Frame:
        picture = _read(self._paths[index], _kind_of_clip(self.clip))
        return Frame(picture.color, index, 1, picture.alpha)

    def _good_before(self, index: int) -> Frame:
        """Return the last good frame before a damaged one; the error of the first one is raised."""
        while True:
            index -= 1
            try:
                return self._frame(max(index, 0))
            except DamageError:
                if index <= 0:
                    raise

    def frames_after(self, count: int, pts: int | None) -> Iterator[Frame]:
        """Yield the frames that iteration yields after its first ones.

        Args:
            count: Number of frames to leave out.
            pts: Unused, because it follows from the count.

        Raises:
            InputError: A picture cannot be read; see ``__iter__``.
        """
        return self.frames_from(self._begin + count)


class SequenceWriter:
    """A context manager that writes frames as an image sequence, each picture completely or not at all.

    The values are written unchanged and without a profile, so programs read them as sRGB. Pictures have 16
    bits if the frames have 16 bits and the format supports them. Existing files are replaced.

    Attributes:
        written: Number of pictures that are written.

    Args:
        pattern: A name with one number, see ``is_sequence``; its folder is created.
        format: Format of the pictures, whatever the extension of the pattern is.
        settings: Settings for writing the pictures.
        first_number: Number of the first frame that is written; FFmpeg also begins with 1.
        gray: Whether the frames are gray and are written as gray.
        rotation_deg: Counterclockwise rotation to apply to the frames. This is the clip's rotation, which
            pictures cannot store.
        mode: Permission bits of the pictures.

    Raises:
        UsageError: The pattern does not have exactly one number.
        OutputError: The folder cannot be created.
        DiskFullError: There is no space left for the folder.
    """

    def __init__(
        self,
        pattern: str,
        format: PictureFormat,
        settings: WriteSettings = DEFAULT_SETTINGS,
        *,
        first_number: int = 1,
        gray: bool = False,
        rotation_deg: int = 0,
        mode: int = ORDINARY_MODE,
    ) -> None:
        self._names = sequence_names(pattern)
        self._format, self._settings = format, settings
        self._gray, self._rotation_deg = gray, rotation_deg
        self._number, self._mode = first_number, mode
        self.written = 0
        make_folder(self._names.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def path(self, number: int) -> Path:
        """Return the path of the frame with this number."""
        return self._names.path(number)

    def write(self, frame: Frame) -> None:
        """Write a frame under the next number.

        Raises:
            OutputError: The frame cannot be written, or the format does not support its size.
            DiskFullError: There is no space left.
            OutOfMemoryError: There is not enough memory to encode the frame.
        """
        content = encode_file(PictureFile((self._picture(frame),)), self._format, self._settings)
        modified_ns = self._settings.modified_ns
        write_whole(self.path(self._number), content, mode=self._mode, modified_ns=modified_ns)
        self._number += 1
        self.written += 1

    def _picture(self, frame: Frame) -> Picture:
        return frame.turned(self._rotation_deg).as_picture(gray=self._gray, format=self._format.name)


def sequence_limitations(clip: Clip, format: PictureFormat) -> tuple[str, ...]:
    """Return what a clip loses when its frames are written as pictures.

    Args:
        clip: The source clip.
        format: Format of the pictures.

    Returns:
        One sentence for each loss, without a full stop.
    """
    one = Probe("", clip.height, clip.width, 1, clip.alpha, clip.depth_bits, gray=clip.gray)
    missing = "pictures have no sound, subtitles, chapters or timestamps"
    return (*notes_on_streams(clip, missing), *limitations(one, format, frozenset()))


def _surveyed(paths: Iterable[Path], frame_rate: Fraction) -> Clip:
    """Read all headers and return the facts about the clip.

    Raises:
        InputError: A file is not exactly one picture, or differs from the first one in its kind.
    """
    probes: list[Probe] = []
    for path in paths:
        probes.append(_probed(path))
        _check_kind(path, _kind_of_probe(probes[-1]), _kind_of_probe(probes[0]))
    gray = all(probed.gray for probed in probes)
    notes = dict.fromkeys(note for probed in probes for note in notes_on_pictures(probed))
    return clip_of_pictures(probes[0], len(probes), gray, frame_rate, tuple(notes))


def _probed(path: Path) -> Probe:
    probed = probe(path)
    if probed.several is not None:
        raise InputError(f"{path} contains {probed.frames} {probed.several}, but a frame must be one picture")
    return probed


def _read(path: Path, kind: _Kind) -> Picture:
    read = read_file(path).first
    whole = read if read.no_data is None else replace(read, alpha=None)
    picture = with_depth(to_screen(whole), 16)
    _check_kind(path, _kind_of_picture(picture), kind)
    return to_srgb(picture)


def _check_kind(path: Path, kind: _Kind, first: _Kind) -> None:
    if kind != first:
        raise InputError(f"{path} has {kind}, but the sequence began with {first}")


def _kind_of_probe(probed: Probe) -> _Kind:
    return _Kind(probed.height, probed.width, probed.depth_bits > 8, probed.alpha)


def _kind_of_picture(picture: Picture) -> _Kind:
    return _Kind(picture.height, picture.width, picture.depth_bits > 8, picture.alpha is not None)


def _kind_of_clip(clip: Clip) -> _Kind:
    return _Kind(clip.height, clip.width, clip.depth_bits > 8, clip.alpha)
