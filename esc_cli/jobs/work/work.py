"""The work on all kinds of tasks, which is the same on one machine and on the workers of a cluster."""

from esc_cli.jobs.work.archives import ArchiveWork
from esc_cli.jobs.work.clips import ClipWork
from esc_cli.jobs.work.context import RunContext
from esc_cli.jobs.work.pictures import PictureWork


class Work:
    """The work on the tasks of a run.

    Args:
        context: What the tasks share.

    Attributes:
        pictures: The work on pictures, in three steps that may overlap.
        clips: The work on clips, whole or in segments.
        archives: The work on archives of pictures.
    """

    def __init__(self, context: RunContext) -> None:
        self.pictures = PictureWork(context)
        self.clips = ClipWork(context)
        self.archives = ArchiveWork(context, self.pictures)
