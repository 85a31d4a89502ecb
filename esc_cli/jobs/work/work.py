"""The work on all kinds of tasks, which is the same on one machine and on the workers of a cluster."""

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
