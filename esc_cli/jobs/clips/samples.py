"""Read a few frames that are spread over a clip, to make a preview or to choose the model."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from esc_cli.media.video.frame import Frame

if TYPE_CHECKING:
    from esc_cli.jobs.clips.task import ClipTask, FrameSource  # imports this module


def spread(reader: "FrameSource", task: "ClipTask", count: int) -> Iterator[Frame]:
    """Yield different frames at equal distances: ``count``, or all if there are fewer.

    If equal parts of the time do not give enough frames, as in a short clip, or one whose duration is not
    known, all frames are decoded and counted.

    Raises:
        InputError: The clip is damaged, or it cannot be read from the middle.
    """
    chosen = sorted({frame.pts for frame in samples(reader, task, count)})
    if len(chosen) == count:
        yield from (next(reader.frames_from(pts)) for pts in chosen)
        return
    begin = task.clip.pts_at(task.options.start_s) if task.options.start_s else task.clip.start_pts
    there = [frame.pts for frame in reader.frames_from(begin)]
    kept = min(count, len(there))
    wanted = {there[(2 * number + 1) * len(there) // (2 * kept)] for number in range(kept)}
    yield from (frame for frame in reader.frames_from(begin) if frame.pts in wanted)


def samples(reader: "FrameSource", task: "ClipTask", count: int) -> Iterator[Frame]:
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
            first = next(reader.frames_from(clip.pts_at(time_s)), None)
            if first is not None:
                yield first
                break
