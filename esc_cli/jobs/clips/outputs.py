"""Define what the outputs of a clip have in common: what planning asks them, and how they are made.

``encoded_outputs`` has the files in a container and the streams of raw frames. ``picture_outputs`` has the
image sequences, the animations and the preview sheets. ``plan`` chooses one of them.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar

from esc_cli.errors import InputError
from esc_cli.jobs.sources import Source
from esc_cli.jobs.streams import stdout_errors, stdout_file, write_stdout
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.video.clip import Clip
from esc_cli.media.video.containers import Container
from esc_cli.media.video.encode_settings import EncodeSettings
from esc_cli.media.video.frame import Damage
from esc_cli.storage.whole_files import atomic_path

if TYPE_CHECKING:
    from esc_cli.jobs.clips.run import ClipWork
    from esc_cli.jobs.clips.task import ClipTask


@dataclass(frozen=True)
class Written:
    """A result that was written.

    Attributes:
        size: Size of its frames or of its picture, (height, width), in pixels.
        notes: A sentence for each thing that was repaired or left out.
    """

    size: tuple[int, int]
    notes: tuple[str, ...]


class ClipOutput(ABC):
    """The kind of result that is made of a clip.

    Attributes:
        format: The format of the result.
        label: The part of the result's name that follows the label of the size.
        is_one_file: Whether the result is one file.
        holds_all_frames: Whether all frames are in memory until the result is written.
        has_segments: Whether the result is joined from segments, which several workers can make.
    """

    format: PictureFormat | Container
    label: ClassVar[str] = ""
    is_one_file: ClassVar[bool] = True
    holds_all_frames: ClassVar[bool] = False
    has_segments: ClassVar[bool] = False

    @abstractmethod
    def complete_settings(self, clip: Clip, asked: EncodeSettings, size: tuple[int, int]) -> EncodeSettings:
        """Complete the settings of the encoder, and refuse what the format cannot hold.

        Args:
            clip: The properties of the source clip.
            asked: The settings that the user chose.
            size: The size of the result's frames, (height, width).

        Raises:
            OutputError: The format cannot hold frames of this size.
            UsageError: The settings do not fit the clip, or the output has no encoder.
        """

    def displayed_size(self, clip: Clip, size: tuple[int, int], settings: EncodeSettings) -> tuple[int, int]:
        """Return the height and width of the result's frames, after rotation.

        Args:
            clip: The source clip.
            size: Height and width of the enlarged frames, before rotation.
            settings: Complete settings.
        """
        return size[::-1] if clip.swaps_sides else size

    def is_there(self, target: Path | None) -> bool:
        """Return whether the result's name is taken."""
        return target is not None and os.path.lexists(target)

    @abstractmethod
    def limitations(
        self, source: Source, clip: Clip, size: tuple[int, int], settings: EncodeSettings
    ) -> tuple[str, ...]:
        """Return sentences that say what the result cannot hold and what else is unexpected about it.

        Args:
            source: The source clip.
            clip: The properties of the source clip.
            size: The size of the result's frames, (height, width).
            settings: The complete settings of the encoder.
        """

    def written_size(self, task: "ClipTask") -> tuple[int, int]:
        """Return the size of a result's frames or of its picture, (height, width), as far as it is known."""
        return self.displayed_size(task.clip, (task.height, task.width), task.settings)

    @abstractmethod
    def make(self, work: "ClipWork") -> Written:
        """Make the result.

        Args:
            work: The task, the enlarger of its frames, and the functions to call.

        Raises:
            InputError: The clip is damaged, or there is no frame in the part that is kept.
            OutputError: The result cannot be written.
            DiskFullError: There is no space left.
        """


def nothing_kept(task: "ClipTask") -> tuple[str, ...]:
    """Return the note for a result that a later run begins anew."""
    return (f"nothing of {task.source.name} is kept",)


def damage_notes(damage: Damage, skipped: int) -> tuple[str, ...]:
    """Return a sentence for each kind of damage, and for frames of another size.

    Args:
        damage: The damage in the frames of the result.
        skipped: Number of frames before the first one that could be decoded.
    """
    sentences = (
        (skipped, "damaged at the beginning, and the result begins after {them}"),
        (damage.lost, "damaged, and the last good frame stands in for {them}"),
        (damage.repaired, "damaged and {were} repaired by the decoder"),
        (damage.resized, "of another size, and {were} resized to that of the first frame"),
    )
    return tuple(_counted(count, sentence) for count, sentence in sentences if count)


def _counted(count: int, sentence: str) -> str:
    were, them = ("was", "it") if count == 1 else ("were", "them")
    return f"{count} frame{'s' if count > 1 else ''} {were} {sentence.format(them=them, were=were)}"


def no_frame(task: "ClipTask") -> InputError:
    """Return the error for a clip that has no frame in the requested part."""
    return InputError(f"{task.source.name} has no frame in the requested part")


@contextmanager
def opened_target(work: "ClipWork") -> Iterator[BinaryIO]:
    """Open standard output, or a file that gets the name of the result when it is complete.

    Raises:
        OutputError: The result cannot be written.
        DiskFullError: There is no space left.
    """
    if work.task.target is None:
        with stdout_errors():
            yield stdout_file()
        return
    with atomic_path(work.task.target, work.task.source.mode) as temporary:
        with temporary.open("wb") as file:
            yield file
        work.publish(temporary)


def write_content(work: "ClipWork", content: bytes) -> None:
    """Write the complete content of a result to standard output, or to a file, and publish it.

    Raises:
        OutputError: The result cannot be written.
        DiskFullError: There is no space left.
    """
    if work.task.target is None:
        write_stdout(content)
        return
    with opened_target(work) as file:
        file.write(content)
