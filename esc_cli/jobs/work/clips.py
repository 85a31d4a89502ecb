"""The work on clips, whole or in segments that several workers make."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from esc_cli.enhancement.choice import Choice
from esc_cli.jobs.clips.division import Division, Part, Turn, make_part, times_of
from esc_cli.jobs.clips.encoded_outputs import ContainerFile
from esc_cli.jobs.clips.run import FrameEnlarger, make_clip
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.events import Done, seconds_since
from esc_cli.jobs.made import EnlargedFrames, Made
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.work.context import RunContext, original_of
from esc_cli.jobs.work.events import clip_progress, done_event
from esc_cli.jobs.work_folder import identity_of


class ClipMaker:
    """Makes clips, whole or in segments.

    Args:
        context: The networks and the options of the run.
    """

    def __init__(self, context: RunContext) -> None:
        self._context = context

    def make(self, task: ClipTask) -> Done:
        """Make a clip. Its finished parts are kept for a later run, whatever happens.

        Raises:
            InputError: The clip is damaged, or has no frame in the part that is kept.
            DeviceError: The device cannot run the network, or has too little memory.
            OutputError: The result cannot be written.
            SkipError: The result appeared after planning.
        """
        self._context.check_free(task)
        begun = time.monotonic()
        choice = self._context.chooser.choose(task.factor, lambda: task.looks(self._context.options))
        enlarger = self._context.begin(task, choice)
        original = original_of(task)

        def report(frames: int, frames_per_second: float) -> None:
            total = max(frames, task.probe.frames)
            self._context.listener(clip_progress(task, frames, total, frames_per_second))

        write = self._context.write_settings(task, enlarger.models.provenance(task.factor))
        made = make_clip(task, enlarger, write, self._context.publisher(task, choice, original), report)
        return done_event(task, made, choice, seconds_since(begun))

    def divide(self, task: ClipTask) -> Division | None:
        """Divide a clip into its segments. None means that one worker must make all of it.

        Raises:
            InputError: The clip cannot be read.
            SkipError: The result appeared after planning.
        """
        self._context.check_free(task)
        times = times_of(task)
        if times is None:
            return None
        choice = self._context.chooser.choose(task.factor, lambda: task.looks(self._context.options))
        model = self._context.chooser.models(choice).name
        return Division(identity_of(task.source, task.identity, model), choice, times)

    def make_part(
        self,
        task: ClipTask,
        part: Part,
        identity: Mapping[str, Any] | None,
        choice: Choice | None,
        network: threading.Lock,
        ended: EndOfRun,
    ) -> EnlargedFrames:
        """Make one segment of a clip.

        Args:
            task: The task of the clip.
            part: The segment.
            identity: Everything that the segments depend on.
            choice: The model.
            network: The lock of the network. It is held from the first frame to the last.
            ended: Whether the run has ended. If it is set, no further frame is made.

        Returns:
            How the frames were enlarged.

        Raises:
            InputError: The clip is damaged, or has other frames than its packets state.
            OutputError: The segment cannot be written.
            EndedError: The run has ended.
        """

        def report(frames: int) -> None:
            ended.check()
            self._context.listener(clip_progress(task, frames, len(part.times), 0))

        with Turn(
            network, lambda: FrameEnlarger(self._context.begin(task, choice), task), len(part.times), report
        ) as turn:
            make_part(task, part, identity, turn)
            return turn.enlarged

    def join(self, task: ClipTask, choice: Choice | None, frames: int, ended: EndOfRun) -> Done:
        """Join the segments of a clip, which are all finished, and publish the result.

        Args:
            task: The task of the clip.
            choice: The model.
            frames: Number of frames in all segments.
            ended: Whether the run has ended. If it is set, nothing is published any more.

        Raises:
            InputError: The clip or a segment cannot be read.
            OutputError: The result cannot be written, or this machine does not see all segments.
            SkipError: The result appeared after planning.
            EndedError: The run has ended.
        """
        self._context.check_free(task)
        begun, publish = time.monotonic(), self._context.publisher(task, choice)

        def publish_now(complete: Path | None) -> None:
            ended.check()
            publish(complete, ())

        written = cast(ContainerFile, task.output).join(task, publish_now, frames)
        made = Made(written.size, (*task.lost, *written.notes), EnlargedFrames())
        return done_event(task, made, choice, seconds_since(begun))
