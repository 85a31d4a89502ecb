"""Make a clip: decode, enlarge and encode at once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from esc_cli.enhancement.enlarge import Enlarger
from esc_cli.jobs.clips.pipeline import in_order
from esc_cli.jobs.clips.sinks import Sink, as_picture
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.media.picture import Picture, WriteSettings
from esc_cli.media.video.reader import Frame
from esc_cli.storage.whole_files import make_folder

Publish = Callable[[Path | None], None]
"""Takes the complete file of a result before it gets its name, None where there is none; may prevent that."""

Progress = Callable[[int, float], None]
"""Takes the frames that are done, those of earlier runs too, and how many are done in a second."""


@dataclass(frozen=True)
class Made:
    """What was made of a clip.

    Attributes:
        notes: What could not be kept, a sentence each.
        ways: How the frames went through the network.
    """

    notes: tuple[str, ...]
    ways: tuple[str, ...]


def make_clip(
    task: ClipTask, enlarger: Enlarger, write: WriteSettings, publish: Publish, report: Progress
) -> Made:
    """Make what a task says of a clip.

    Args:
        task: What to make.
        enlarger: Of frames.
        write: How pictures are written.
        publish: Called when the result is complete but for its name; what it raises prevents that.
        report: Is told of each frame.

    Raises:
        InputError: The clip is damaged, or there is no frame in the part that is kept.
        OutputError: The result cannot be written.
        DiskFullError: There is no space left.
    """
    frames = FrameEnlarger(enlarger, task)
    if task.target is not None:
        make_folder(task.target.parent)
    damaged = task.output.make(Work(task, frames, write, publish, report))
    mended = (f"{damaged} damaged frames were mended by the decoder",) if damaged else ()
    return Made((*task.lost, *mended), frames.ways)


class FrameEnlarger:
    """Enlarges frames; one that equals the frame before it is not computed again.

    Attributes:
        model: The name of what enlarges them.
        ways: How the last one went through the network.
    """

    def __init__(self, enlarger: Enlarger, task: ClipTask) -> None:
        self._enlarger = enlarger
        self.model = enlarger.models.name
        self._clip = task.clip
        self._size = task.height, task.width
        self._before: Frame | None = None
        self._high: Picture | None = None
        self.ways: tuple[str, ...] = ()

    def __call__(self, frame: Frame) -> Frame:
        """Enlarge the next frame."""
        if self._high is None or self._before is None or not _are_equal(frame, self._before):
            result = self._enlarger.to_size(self.as_picture(frame), self._size)
            self._high, self.ways = result.picture, result.ways
        self._before = frame
        return replace(frame, color=self._high.color, alpha=self._high.alpha)

    def as_picture(self, frame: Frame) -> Picture:
        """Make a picture of a frame."""
        return as_picture(frame, self._clip)


def _are_equal(frame: Frame, other: Frame) -> bool:
    if frame.alpha is None or other.alpha is None:
        return torch.equal(frame.color, other.color)
    return torch.equal(frame.color, other.color) and torch.equal(frame.alpha, other.alpha)


@dataclass(frozen=True)
class Work:
    """What it takes to make an output.

    Attributes:
        task: What to make.
        frames: Enlarges frames.
        write: How pictures are written.
        publish: Called when the result is complete but for its name.
        report: Is told of each frame.
    """

    task: ClipTask
    frames: FrameEnlarger
    write: WriteSettings
    publish: Publish
    report: Progress

    def run(self, low: Iterator[Frame], sink: Sink, done_before: int = 0) -> None:
        """Enlarge frames and write them, both at once.

        Args:
            low: The frames.
            sink: Where they go.
            done_before: Frames that earlier runs made.
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
