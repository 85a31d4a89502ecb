"""Define the task of making an archive of pictures from another one."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from esc_cli.enhancement.choice import MOST_LOOKS, Chooser
from esc_cli.enhancement.traces import Traces, traces_of
from esc_cli.errors import InputError
from esc_cli.jobs.options import Options
from esc_cli.jobs.record import Recipe
from esc_cli.jobs.sources import Source
from esc_cli.jobs.task import PictureTask, Task, decoded
from esc_cli.media.archives import ArchiveFormat, ArchiveReader
from esc_cli.media.opening import NamedBytes


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

    def content(self, archive: ArchiveReader) -> NamedBytes:
        """Read the content of the page's file.

        Raises:
            InputError: The entry is damaged.
        """
        return NamedBytes(archive.read(self.entry), self.task.source.name)


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

    def looks(self, options: Options) -> Iterable[Traces]:
        """Analyze some pages, spread over the archive. All pages get one model, so that they look alike.

        Args:
            options: The options of the run.

        Raises:
            InputError: The archive is damaged, or none of these pages can be read.
        """
        count = min(MOST_LOOKS, len(self.pages))
        traces: list[Traces] = []
        failure: InputError | None = None
        with ArchiveReader(cast(Path, self.source.content)) as archive:
            for number in range(count):
                page = self.pages[number * len(self.pages) // count]
                try:
                    traces.append(traces_of(decoded(page.content(archive), options).first))
                except InputError as error:
                    failure = error
        if not traces and failure is not None:
            raise failure
        return traces

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
