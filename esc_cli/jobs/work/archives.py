"""The work on archives of pictures."""

import time
from collections.abc import Callable
from pathlib import Path

from esc_cli.jobs.archives.run import PageWork, make_archive
from esc_cli.jobs.archives.task import ArchiveTask
from esc_cli.jobs.events import Done, Progressed, seconds_since
from esc_cli.jobs.made import EnlargedFrames, Made
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.task import PictureTask
from esc_cli.jobs.work.context import RunContext, original_of
from esc_cli.jobs.work.events import done_event
from esc_cli.jobs.work.pictures import HighFile, Loaded, PictureMaker


class ArchiveMaker:
    """Makes archives.

    Args:
        context: The networks and the options of the run.
        pictures: The maker of pictures, which also reads, enlarges and encodes pages.
    """

    def __init__(self, context: RunContext, pictures: PictureMaker) -> None:
        self._context = context
        self._pictures = pictures

    def make(self, task: ArchiveTask, ended: EndOfRun) -> Done:
        """Make an archive. Its finished pages are kept for a later run, whatever happens.

        Args:
            task: The task.
            ended: Whether the run has ended. If it is set, nothing is published any more.

        Raises:
            InputError: The archive is damaged, or a page is, and the task is strict.
            DeviceError: The device cannot run the network, or has too little memory.
            OutputError: The result cannot be written.
            SkipError: The result appeared after planning.
            EndedError: The run has ended.
        """
        self._context.check_free(task)
        begun, total_px = time.monotonic(), task.low_px
        choice = self._context.chooser.choose(task.factor, lambda: task.looks(self._context.options))
        enlarger = self._context.begin(task, choice)
        publish = self._context.publisher(task, choice, original_of(task))
        pages = EnlargedFrames()

        def read(page: PictureTask, content: bytes) -> Loaded:
            return self._pictures.read_page(page, content, choice)

        def enlarge(page: PictureTask, loaded: Loaded, report: Callable[[float], None]) -> HighFile:
            nonlocal pages
            high = self._pictures.enlarged(
                page, loaded, lambda: enlarger, lambda done, total: report(done / total)
            )
            pages = EnlargedFrames(high.ways, pages.repeated + high.repeated)
            return high

        def report(done_px: float) -> None:
            self._context.listener(Progressed(task.source.name, round(done_px), total_px))

        def publish_now(complete: Path | None) -> None:
            ended.check()
            publish(complete, pages.ways)

        work = PageWork(read, enlarge, self._pictures.encoded, self._context.options.workers_here)
        notes = make_archive(task, enlarger.models.name, work, publish_now, report, ended)
        made = Made((task.height, task.width), notes, pages)
        return done_event(task, made, choice, seconds_since(begun))
