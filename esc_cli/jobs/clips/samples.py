"""Read a few frames that are spread over a clip, to make a preview or to choose the model."""

from collections.abc import Iterator
from io import BufferedReader

from esc_cli.enhancement.choice import MOST_LOOKS
from esc_cli.enhancement.traces import Traces, traces_in
from esc_cli.errors import InputError
from esc_cli.jobs.clips.task import ClipTask, FrameSource
from esc_cli.media.video.reader import Frame, pts_at


def samples(reader: FrameSource, task: ClipTask, count: int) -> Iterator[Frame]:
    """Divide a clip into ``count`` equal parts, and yield one frame from the middle of each.

    A part in which no frame begins after its middle gives its first frame, if one begins in it.

    Raises:
        InputError: The clip is damaged, or it cannot be read from the middle.
    """
    clip, options = task.clip, task.options
    start_s = options.start_s or 0.0
    end_s = min(options.end_s or float("inf"), clip.duration_s or start_s)
    part_s = (end_s - start_s) / count
    for number in range(count):
        for time_s in (start_s + part_s * (number + 0.5), start_s + part_s * number):
            first = next(reader.frames_from(pts_at(clip, time_s)), None)
            if first is not None:
                yield first
                break


def looks_at_clip(task: ClipTask) -> list[Traces]:
    """Analyze a few frames. A stream can be read only once, so only its first frame is analyzed.

    Raises:
        InputError: The clip cannot be read at all.
    """
    if isinstance(task.source.content, BufferedReader):
        return [traces_in(task.open().peek())]
    with task.open() as reader:
        first = traces_in(reader.peek())
        try:
            return [traces_in(frame.color) for frame in samples(reader, task, MOST_LOOKS)] or [first]
        except (InputError, IndexError):
            # A clip that cannot be read from the middle may be readable from the beginning. PyAV raises
            # IndexError if a stream appears later.
            return [first]
