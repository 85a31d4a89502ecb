"""The work on all kinds of tasks, which is the same on one machine and on the workers of a cluster."""

from typing import cast

from esc_cli.jobs.archives.task import ArchiveTask
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.events import Done
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.task import Task
from esc_cli.jobs.work.archives import ArchiveMaker
from esc_cli.jobs.work.clips import ClipMaker
from esc_cli.jobs.work.context import RunContext
from esc_cli.jobs.work.pictures import PictureMaker


class Work:
    """The work on the tasks of a run.

    Args:
        context: The networks and the options of the run.

    Attributes:
        pictures: The maker of pictures, whose three steps may overlap.
        clips: The maker of clips, whole or in segments.
        archives: The maker of archives of pictures.
    """

    def __init__(self, context: RunContext) -> None:
        self.pictures = PictureMaker(context)
        self.clips = ClipMaker(context)
        self.archives = ArchiveMaker(context, self.pictures)

    def make(self, task: Task, ended: EndOfRun) -> Done:
        """Make a clip or an archive, whose work is not divided into steps that overlap.

        Args:
            task: The task.
            ended: Whether the run has ended. If it is set, nothing is published any more.

        Raises:
            EscError: The result cannot be made. The error is an instance of a subclass.
            SkipError: The result appeared after planning.
            EndedError: The run has ended.
        """
        if isinstance(task, ClipTask):
            return self.clips.make(task)
        return self.archives.make(cast(ArchiveTask, task), ended)
