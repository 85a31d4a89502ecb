"""Make a clip: decode, enlarge and encode at the same time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.jobs.clips.sinks import Sink
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.made import EnlargedFrames, Made, Progress, Publish, PublishMade
from esc_cli.jobs.pipeline import in_order
from esc_cli.media.picture import Picture, WriteSettings
from esc_cli.media.video.frame import UNDAMAGED, Frame


def make_clip(
    task: ClipTask, enlarger: Enlarger, write: WriteSettings, publish: PublishMade, report: Progress
) -> Made:
    """Carry out the task of a clip.

    Args:
        task: The task.
        enlarger: The enlarger of the frames.
        write: The settings for writing pictures.
        publish: Function that is called when the result is complete except for its name, with the sentences
            that say how frames went through the network. An exception prevents the result from getting its
            name.
        report: Function that is called after each frame.

    Raises:
        InputError: The clip is damaged, or there is no frame in the part that is kept.
        OutputError: The result cannot be written.
        DiskFullError: There is no space left.
    """
    frames = FrameEnlarger(enlarger, task)
    if task.target is not None:
        task.source.make_folder_of_result(task.target.parent)
    written = task.output.make(
        ClipWork(task, frames, write, lambda complete: publish(complete, frames.enlarged.ways), report)
    )
    return Made(written.size, (*task.lost, *written.notes), frames.enlarged)


class FrameEnlarger:
    """Enlarges frames. A frame that equals the previous one is not computed again.

    Attributes:
        model: The name of the model.
        enlarged: How the frames were enlarged.
        damage: The damage in all frames.
    """

    def __init__(self, enlarger: Enlarger, task: ClipTask) -> None:
        self._enlarger = enlarger
        self.model = enlarger.models.name
        self._gray = task.clip.gray
        self._size = task.height, task.width
        self._before: Frame | None = None
        self._high: Picture | None = None
        self.enlarged = EnlargedFrames()
        self.damage = UNDAMAGED

    def __call__(self, frame: Frame) -> Frame:
        """Enlarge the next frame."""
        repeated = self.enlarged.repeated
        if self._high is None or self._before is None or not _are_equal(frame, self._before):
            result = self._enlarger.to_size(frame.as_picture(gray=self._gray), self._size)
            self._high, self.enlarged = result.picture, EnlargedFrames(result.ways, repeated)
        else:
            self.enlarged = replace(self.enlarged, repeated=repeated + 1)
        self._before = frame
        self.damage += frame.damage
        return replace(frame, color=self._high.color, alpha=self._high.alpha)


def _are_equal(frame: Frame, other: Frame) -> bool:
    if frame.alpha is None or other.alpha is None:
        return torch.equal(frame.color, other.color)
    return torch.equal(frame.color, other.color) and torch.equal(frame.alpha, other.alpha)


@dataclass(frozen=True)
class ClipWork:
    """Everything that is needed to make an output.

    Attributes:
        task: The task.
        frames: The enlarger of the frames.
        write: The settings for writing pictures.
        publish: Function that is called when the result is complete except for its name.
        report: Function that is called after each frame.
    """

    task: ClipTask
    frames: FrameEnlarger
    write: WriteSettings
    publish: Publish
    report: Progress

    def run(self, low: Iterator[Frame], sink: Sink, done_before: int = 0) -> None:
        """Enlarge frames and write them at the same time.

        Args:
            low: The frames to enlarge.
            sink: The sink for the enlarged frames.
            done_before: Number of frames that earlier runs made.
        """
        begun, done = time.monotonic(), 0

        def make(frame: Frame) -> Frame:
            nonlocal done
            high = self.frames(frame)
            done += 1
            self.report(done_before + done, done / max(time.monotonic() - begun, 1e-9))
            return high

        with sink:
            in_order(low, make, sink.write)
