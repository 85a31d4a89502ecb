"""Define the tasks that a plan consists of. A task makes one file."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from esc_cli.enhancement.choice import Choice, Chooser, looks_at
from esc_cli.enhancement.traces import Traces
from esc_cli.jobs.in_place import InPlace
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import Recipe, is_up_to_date, makes_the_same, replaced
from esc_cli.jobs.sources import Source
from esc_cli.jobs.streams import STDOUT
from esc_cli.media.archives import ArchiveFormat
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.picture import PictureFile
from esc_cli.media.probe import Probe
from esc_cli.media.read import read_file
from esc_cli.media.video.containers import Container


def decoded(source: Path | bytes, options: Options) -> PictureFile:
    """Decode a picture as the options of a run say.

    Raises:
        InputError: The picture cannot be read.
        OutOfMemoryError: The pixels do not fit in memory.
    """
    return read_file(source, options.largest_px, keep_damaged=options.keeps_damaged)


@dataclass(frozen=True, kw_only=True)
class Task:
    """The task of making one file.

    Attributes:
        source: The picture or clip that the result is made from.
        format: The format of the result.
        target: The file of the result. None means standard output.
        probe: The properties of the source, from its header.
        height: Height of the result, in pixels.
        width: Width of the result, in pixels.
        lost: Sentences that say what the result cannot hold.
        recipe: Everything that the result depends on except the bytes of the input. None means that no record
            is kept.
        choice: The model. None if it is chosen when the source is read, or if nothing is enlarged.
        in_place: How the result replaces its input. None means that it has a name of its own.
        number: Place of the task among those of its run, from 1.
    """

    source: Source
    format: PictureFormat | Container | ArchiveFormat
    target: Path | None
    probe: Probe
    height: int
    width: int
    lost: tuple[str, ...]
    recipe: Recipe | None = None
    choice: Choice | None = None
    in_place: InPlace | None = None
    number: int = 0

    @property
    def factor(self) -> float:
        """The factor by which the source is enlarged, along the side that grows more."""
        return max(self.height / self.probe.height, self.width / self.probe.width)

    @property
    def target_name(self) -> str:
        """Name of the result in events."""
        return STDOUT if self.target is None else str(self.target)

    @property
    def written_size(self) -> tuple[int, int]:
        """Size of the written picture or frames, (height, width), in pixels."""
        return self.height, self.width

    @property
    def parts(self) -> "tuple[Task, ...]":
        """The tasks that this one consists of: itself, or those of the pages of an archive."""
        return (self,)

    @property
    def format_name(self) -> str:
        """Name of the format of the result."""
        return self.format.name

    @property
    def result_px(self) -> int:
        """Number of pixels of the result, in all its frames or pages."""
        return self.height * self.width * self.probe.frames

    @property
    def work_px(self) -> int:
        """Number of pixels that the network processes."""
        return self.low_px

    @property
    def low_px(self) -> int:
        """Number of pixels of the source, in all its frames or pages."""
        return self.probe.height * self.probe.width * self.probe.frames

    def looks(self, options: Options) -> Iterable[Traces]:
        """Analyze the source, so that its model can be chosen.

        Args:
            options: The options of the run.

        Raises:
            InputError: The source cannot be read.
        """
        return looks_at(decoded(cast(Path | bytes, self.source.content), options))

    @property
    def is_one_file(self) -> bool:
        """Whether the result is one file."""
        return True

    def own_recipe(self, chooser: Chooser) -> Recipe:
        """Return what the result depends on besides what all kinds of results depend on, as a JSON object.

        Args:
            chooser: The networks of the run.
        """
        return {}

    @property
    def backup(self) -> Path | None:
        """The file that keeps the original, if the result replaces it."""
        return None if self.in_place is None else self.in_place.backup

    @property
    def is_there(self) -> bool:
        """Whether the result's name is taken. An input that is to be replaced counts if it was before."""
        if self.in_place is not None and self.target is not None:
            return replaced(self.target) is not None
        return self._is_taken

    @property
    def _is_taken(self) -> bool:
        return self.target is not None and os.path.lexists(self.target)

    @property
    def is_up_to_date(self) -> bool:
        """Whether the result exists and was made from the same input by the same recipe."""
        source = self.source.content
        if self.recipe is None or self.target is None or not isinstance(source, Path):
            return False
        if self.in_place is not None:
            made = replaced(self.target)
            return made is not None and makes_the_same(made, self.recipe)
        return is_up_to_date(source, self.target, self.recipe)


@dataclass(frozen=True, kw_only=True)
class PictureTask(Task):
    """The task of making a picture, an animation or pages.

    Attributes:
        format: The format of the result.
    """

    format: PictureFormat


WriteRecipe = Callable[[Task], Recipe]
"""A function that returns everything that a task's result depends on except the bytes of the input."""
