"""One file to make: what a plan consists of."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from esc_cli.enhancement.choice import Choice
from esc_cli.jobs.record import Recipe, is_up_to_date
from esc_cli.jobs.sources import Source
from esc_cli.media.formats.base import PictureFormat
from esc_cli.media.probe import Probe
from esc_cli.media.video.containers import Container


@dataclass(frozen=True, kw_only=True)
class Task:
    """One file to make.

    Attributes:
        source: What it is made from.
        format: What it is written as.
        target: Its file; None for standard output.
        probe: What the source's header says.
        height: Of the result, pixels.
        width: Of the result, pixels.
        lost: What the result cannot hold, a sentence each.
        recipe: What the result depends on but the input's bytes; None where no record is kept.
        choice: Its model; None where that is not chosen before it is read, or nothing is enlarged.
    """

    source: Source
    format: PictureFormat | Container
    target: Path | None
    probe: Probe
    height: int
    width: int
    lost: tuple[str, ...]
    recipe: Recipe | None = None
    choice: Choice | None = None

    @property
    def factor(self) -> float:
        """How many times as large as its source the result is, along the side where it grows more."""
        return max(self.height / self.probe.height, self.width / self.probe.width)

    @property
    def low_px(self) -> int:
        """Pixels of the source, in all its frames or pages."""
        return self.probe.height * self.probe.width * self.probe.frames

    @property
    def is_there(self) -> bool:
        """Whether the result's name is taken."""
        return self.target is not None and os.path.lexists(self.target)

    @property
    def is_up_to_date(self) -> bool:
        """Whether the result is there already, made from the same input by the same recipe."""
        source = self.source.content
        if self.recipe is None or self.target is None or not isinstance(source, Path):
            return False
        return is_up_to_date(source, self.target, self.recipe)


@dataclass(frozen=True, kw_only=True)
class PictureTask(Task):
    """A picture, an animation or pages to make.

    Attributes:
        format: What it is written as.
    """

    format: PictureFormat


WriteRecipe = Callable[[Task], Recipe]
"""Tells what a task's result depends on but the input's bytes."""
