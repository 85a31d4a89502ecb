"""Make an archive: enlarge its pages one after the other, keep those that are done, and pack them all."""

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, cast

from esc_cli.errors import EscError, InputError
from esc_cli.jobs.archives.plan import kept_note
from esc_cli.jobs.archives.task import ArchiveTask, Page, counted
from esc_cli.jobs.events import CONTINUE
from esc_cli.jobs.made import Publish
from esc_cli.jobs.memory import high_bytes, low_bytes, room_for_waiting
from esc_cli.jobs.pipeline import EndOfRun, Stages, overlapped
from esc_cli.jobs.task import PictureTask
from esc_cli.jobs.work_folder import LockedFolder, identity_of, noting
from esc_cli.media.archives import ArchiveReader
from esc_cli.storage.whole_files import atomic_path, write_whole

Decoded = TypeVar("Decoded")
Enlarged = TypeVar("Enlarged")

ReportDone = Callable[[float], None]
"""A function that receives the number of pixels of the source that are done, with earlier runs."""


@dataclass(frozen=True)
class Encoded:
    """The result of a page.

    Attributes:
        content: The content of its file.
        notes: Sentences that say what could not be kept.
    """

    content: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class PageWork(Generic[Decoded, Enlarged]):
    """The work on a page.

    Attributes:
        read: Function that decodes a page.
        enlarge: Function that enlarges what was decoded. It reports the share of the work that is done.
        encode: Function that encodes what was enlarged.
        workers: Number of threads that decode and encode.
    """

    read: Callable[[PictureTask, bytes], Decoded]
    enlarge: Callable[[PictureTask, Decoded, Callable[[float], None]], Enlarged]
    encode: Callable[[PictureTask, Enlarged], Encoded]
    workers: int


class PageFolder(LockedFolder):
    """The folder of an archive's finished pages.

    A file in it, ``ENTRY.page``, has one line of JSON with the notes about the page, and then its content.
    """

    pattern = "*.page"

    def finish(self, entry: int, page: Encoded) -> None:
        """Keep a finished page.

        Raises:
            OutputError: The page cannot be written, or another run has begun anew with other settings.
            DiskFullError: There is no space left.
        """
        self.check_owner()
        head = json.dumps(page.notes).encode("ascii")
        write_whole(self._place(entry), head + b"\n" + page.content)

    def page(self, entry: int) -> Encoded:
        """Return a finished page."""
        head, _, content = self._place(entry).read_bytes().partition(b"\n")
        return Encoded(content, tuple(json.loads(head)))

    def _place(self, entry: int) -> Path:
        return self.path / f"{entry:06d}.page"


def make_archive(
    task: ArchiveTask,
    model: str,
    work: PageWork[Decoded, Enlarged],
    publish: Publish,
    report: ReportDone,
    ended: EndOfRun,
) -> tuple[str, ...]:
    """Carry out the task of an archive. The pages that are done are kept for a later run, whatever happens.

    Args:
        task: The task.
        model: The name of the model.
        work: The work on a page.
        publish: Function that is called when the archive is complete except for its name. An exception
            prevents the archive from getting its name.
        report: Function that is called when some pixels are done.
        ended: Whether the run has ended. If it is set, no further page is made.

    Returns:
        Sentences that say what could not be kept.

    Raises:
        InputError: The archive is damaged, or one of its pages is, and the task is strict.
        OutputError: The result cannot be written.
        DiskFullError: There is no space left.
    """
    target = cast(Path, task.target)
    task.source.make_folder_of_result(target.parent)
    with (
        PageFolder(target, identity_of(task.source, task.identity, model)) as folder,
        noting(lambda: _kept(task, folder)),
        ArchiveReader(cast(Path, task.source.content)) as archive,
    ):
        try:
            unread = _make_pages(task, work, archive, folder, report, ended)
        except InputError:
            folder.remove()  # the next run would fail, too
            raise
        return _pack(task, archive, folder, publish, unread)


def _make_pages(
    task: ArchiveTask,
    work: PageWork[Decoded, Enlarged],
    archive: ArchiveReader,
    folder: PageFolder,
    report: ReportDone,
    ended: EndOfRun,
) -> tuple[str, ...]:
    """Make the pages that no earlier run made. Return a sentence for each page that cannot be read."""
    done = {page.entry for page in task.pages} & folder.found.keys()
    done_px = sum(page.task.low_px for page in task.pages if page.entry in done)

    def make(page: Page, read: Decoded) -> Enlarged:
        nonlocal done_px
        ended.check()
        before = done_px
        made = work.enlarge(page.task, read, lambda share: report(before + share * page.task.low_px))
        done_px += page.task.low_px
        report(done_px)
        return made

    def write(page: Page, made: Enlarged, stopped: EndOfRun) -> None:
        encoded = work.encode(page.task, made)
        with stopped.publishing():
            stopped.check()
            folder.finish(page.entry, encoded)

    stages = Stages(
        lambda page: work.read(page.task, page.content(archive)),
        make,
        write,
        lambda page: low_bytes(page.task),
        lambda page: high_bytes(page.task),
    )
    waiting_bytes = room_for_waiting()
    failed: list[InputError] = []
    missing = [page for page in task.pages if page.entry not in done]
    with closing(overlapped(missing, stages, workers=work.workers, waiting_bytes=waiting_bytes)) as outcomes:
        for page, outcome in outcomes:
            error = outcome.exception()
            if isinstance(error, InputError) and not task.strict:
                failed.append(error.with_traceback(None))  # it holds pixels
            elif isinstance(error, EscError):
                raise _about(page, error)
            elif error is not None:
                raise error
    if len(failed) == len(task.pages):
        raise failed[0]
    return tuple(map(kept_note, failed))


def _about(page: Page, error: EscError) -> EscError:
    """Return an error whose message names the page."""
    name = page.task.source.name
    if name in error.message:
        return error
    return type(error)(f"{name} cannot be enlarged: {error.message}", error.hint)


def _pack(
    task: ArchiveTask, archive: ArchiveReader, folder: PageFolder, publish: Publish, unread: Iterable[str]
) -> tuple[str, ...]:
    done = folder.found
    names = {page.entry: page.name for page in task.pages if page.entry in done}
    notes: list[tuple[str, ...]] = []

    def replacement(entry: int) -> tuple[str, bytes] | None:
        if entry not in names:
            return None
        page = folder.page(entry)
        notes.append(page.notes)
        return names[entry], page.content

    with atomic_path(folder.target, task.source.mode) as temporary:
        archive.rewrite(temporary, replacement)
        archive.close()  # before the result may replace it
        publish(temporary)
    return (*counted(notes), *task.unread, *unread, *task.lost_besides)


def _kept(task: ArchiveTask, folder: PageFolder) -> tuple[str, str]:
    return f"{len(folder.found)} of {len(task.pages)} pages of {task.source.name} are done and kept", CONTINUE
