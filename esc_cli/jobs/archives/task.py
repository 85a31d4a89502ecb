"""Define the task of making an archive of pictures from another one."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from esc_cli.enhancement.choice import Chooser
from esc_cli.jobs.record import Recipe
from esc_cli.jobs.sources import Source
from esc_cli.jobs.task import PictureTask, Task
from esc_cli.media.archives import ArchiveFormat


@dataclass(frozen=True, kw_only=True)
class PageSource(Source):
    """A picture in an archive. Its content is read when it is needed.

    Attributes:
        archive: The archive.
    """

    archive: Path

    @property
    def name(self) -> str:
        """The name of the picture in messages."""
        return f"the page {self.relative.as_posix()!r} of {self.archive}"


@dataclass(frozen=True)
class Page:
    """A picture in an archive that is enlarged.

    Attributes:
        entry: Number of its entry in the archive, counted from 0.
        name: The name of the result in the new archive.
        task: The task of making the result. It has no target.
    """

    entry: int
    name: str
    task: PictureTask


@dataclass(frozen=True, kw_only=True)
class ArchiveTask(Task):
    """The task of making an archive, in which all pictures of another archive are enlarged.

    Its size is that of the first page.

    Attributes:
        format: The kind of archive.
        pages: The pictures that are enlarged, in the order of the archive.
        unread: A sentence for each picture that cannot be read, and is kept as it is.
        strict: Whether the archive fails if one of its pictures cannot be read.
        identity: Everything that the result depends on except the bytes of the input.
    """

    format: ArchiveFormat
    pages: tuple[Page, ...]
    unread: tuple[str, ...] = ()
    strict: bool = False
    identity: Recipe = field(default_factory=dict)

    @property
    def parts(self) -> tuple[PictureTask, ...]:
        """The tasks of the pages."""
        return tuple(page.task for page in self.pages)

    @property
    def lost_besides(self) -> tuple[str, ...]:
        """Sentences that say what is lost apart from the pages."""
        known = {*counted([task.lost for task in self.parts]), *self.unread}
        return tuple(sentence for sentence in self.lost if sentence not in known)

    def own_recipe(self, chooser: Chooser) -> Recipe:
        """Return what each kind of page depends on. Nothing is known about pages that were replaced."""
        kinds: list[Recipe] = []
        for part in self.parts if self.in_place is None else ():
            size = {"height": part.height, "width": part.width}
            kind = {**chooser.recipe(part.factor), **size, "format": part.format.name}
            if kind not in kinds:
                kinds.append(kind)
        return {"pages": kinds}

    @property
    def factor(self) -> float:
        """The largest factor by which a page is enlarged."""
        return max(task.factor for task in self.parts)

    @property
    def low_px(self) -> int:
        """Number of pixels of all pages."""
        return sum(task.low_px for task in self.parts)


def counted(sentences: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return each sentence about pages once, with the number of its pages if it does not concern all of them.

    Args:
        sentences: The sentences about each page.
    """
    counts = Counter(sentence for page in sentences for sentence in dict.fromkeys(page))
    total = len(sentences)
    return tuple(
        sentence if count == total else f"{sentence} (in {count} of {total} pages)"
        for sentence, count in counts.items()
    )
