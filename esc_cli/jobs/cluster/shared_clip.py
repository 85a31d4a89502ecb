"""Follow a clip whose segments are made by several workers, from its division to its result."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import cast

from esc_cli.errors import EscError, OutputError
from esc_cli.jobs.clips.division import Division
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.clips.work_folder import WorkFolder
from esc_cli.jobs.cluster.units import Divide, Join, MakePart, Outcome, Unit, Waiting, Whole
from esc_cli.jobs.events import Done, Progressed, seconds_since
from esc_cli.jobs.made import EnlargedFrames
from esc_cli.jobs.work.events import clip_progress


class SharedClip:
    """A clip on the workers of a cluster, as the driver sees it.

    Its units are first ``Divide``, then one ``MakePart`` for each segment that no earlier run finished, and
    at last ``Join``. If the clip cannot be divided, or one of its segments fails, ``Whole`` follows instead:
    one worker continues after the finished segments, and its outcome is that of a plain run.

    The driver keeps the folder of the segments, and thereby its lock.

    Args:
        task: The task of the clip.
        waiting: The units that wait for a worker. Those of the clip are added to it.
    """

    def __init__(self, task: ClipTask, waiting: Waiting) -> None:
        self._task = task
        self._waiting = waiting
        self._folder: WorkFolder | None = None
        self._division: Division | None = None
        self._out: set[int] = set()  # numbers of the segments that wait or are being made
        self._has_failed = False
        self._frames: dict[int, int] = {}  # frames that this run has made, by segment
        self._frames_before = 0
        self._enlarged: dict[int, EnlargedFrames] = {}
        self._begun = time.monotonic()

    def hear(self, unit: Unit, outcome: Outcome) -> Iterator[Outcome]:
        """Take note of the outcome of a unit, add those that follow, and yield the outcome of the clip."""
        if outcome.is_deadly and not isinstance(unit, MakePart):
            yield self._ended(outcome)
        elif isinstance(unit, Divide):
            yield from self._divided(outcome.made)
        elif isinstance(unit, MakePart):
            yield from self._made(unit, outcome)
        else:
            yield self._ended(outcome)

    def progress(self, unit: MakePart, event: Progressed) -> Progressed:
        """Return the event for the progress of the clip, for that of a segment."""
        self._frames[unit.part.number] = len(unit.part.times) * event.done // event.total
        made, total = sum(self._frames.values()), len(cast(Division, self._division).times)
        speed = made / max(time.monotonic() - self._begun, 1e-9)
        return clip_progress(self._task, self._frames_before + made, total, speed)

    def lost(self, unit: Unit) -> None:
        """Take note of a unit whose worker has died. Its frames will be made again."""
        if isinstance(unit, MakePart):
            self._frames.pop(unit.part.number, None)

    def close(self) -> None:
        """Leave the folder of the segments to a later run, if the clip is not complete."""
        if self._folder is not None:
            self._folder.close(is_joined=False)
            self._folder = None

    def _divided(self, division: Division | None) -> Iterator[Outcome]:
        if division is None:
            self._waiting.add(Whole(self._task))
            return
        target = cast(Path, self._task.target)
        try:
            self._task.source.make_folder_of_result(target.parent)
            self._folder = WorkFolder(target, division.identity)
        except OutputError as error:
            yield Outcome(None, error)
            return
        self._division = division
        self._frames_before = self._folder.frames_in_all
        self._begun = time.monotonic()
        self._has_failed = not self._add_missing(division, self._folder)
        self._go_on_when_made()

    def _add_missing(self, division: Division, folder: WorkFolder) -> bool:
        """Add the missing segments. Return whether those that are there are segments of this division."""
        found, parts = folder.found, tuple(division.parts)
        if any(number >= len(parts) or not parts[number].is_that_of(path) for number, path in found.items()):
            return False
        for part in parts:
            if part.number not in found:
                self._out.add(part.number)
                self._waiting.add(MakePart(self._task, part, division.identity, division.choice))
        return True

    def _made(self, unit: MakePart, outcome: Outcome) -> Iterator[Outcome]:
        self._out.discard(unit.part.number)
        if outcome.error is None:
            self._enlarged[unit.part.number] = outcome.made
        else:
            self._has_failed = True
            dropped = self._waiting.drop(self._task)
            self._out -= {one.part.number for one in dropped if isinstance(one, MakePart)}
            if outcome.is_deadly:
                yield self._ended(outcome)
                return
        self._go_on_when_made()

    def _go_on_when_made(self) -> None:
        """Add the unit that follows if no segment waits or is being made."""
        if self._out:
            return
        if self._has_failed:
            self.close()
            self._waiting.add(Whole(self._task))
        else:
            division = cast(Division, self._division)
            self._waiting.add(Join(self._task, division.choice, len(division.times)))

    def _ended(self, outcome: Outcome) -> Outcome:
        """Return the outcome of the clip, and remove the folder of its segments if the result is there."""
        if self._folder is None:
            return outcome
        if outcome.error is None or self._task.is_up_to_date:
            with suppress(EscError):
                self._folder.close(is_joined=True)
            self._folder = None
        self.close()
        if not isinstance(outcome.made, Done):
            return outcome
        parts = self._enlarged
        ways = parts[max(parts)].ways if parts else ()
        repeated = sum(part.repeated for part in parts.values())
        seconds = seconds_since(self._begun)
        return replace(outcome, made=replace(outcome.made, seconds=seconds, ways=ways, repeated=repeated))
