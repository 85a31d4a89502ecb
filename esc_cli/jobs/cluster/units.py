"""Define the units of work that the driver gives to the workers: whole files, or segments of clips."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, cast

from esc_cli.enhancement.choice import Choice
from esc_cli.errors import EscError
from esc_cli.jobs.clips.division import Division, Part, may_be_divided
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.events import Done
from esc_cli.jobs.made import EnlargedFrames
from esc_cli.jobs.pipeline import EndOfRun
from esc_cli.jobs.task import PictureTask, Task
from esc_cli.jobs.work.context import SkipError
from esc_cli.jobs.work.work import Work

_LAST = 2**62


@dataclass(frozen=True)
class Outcome:
    """How a unit ended.

    Attributes:
        made: What the unit returned: the ``done`` event of a task, or an intermediate result; or None.
        error: The exception that ended the unit, or None.
        is_deadly: Whether the unit was given up because its workers died.
    """

    made: Any
    error: EscError | SkipError | None
    is_deadly: bool = False


@dataclass(frozen=True)
class WorkerContext:
    """The parts of a worker that a unit uses.

    Attributes:
        work: The work on tasks.
        network: The lock of the worker's network, which one unit uses at a time.
        ended: Whether the run has ended. If it is set, nothing is published any more.
    """

    work: Work
    network: threading.Lock
    ended: EndOfRun


@dataclass(frozen=True)
class Unit(ABC):
    """A unit of work that one worker does at once.

    Attributes:
        task: The task that the unit belongs to.
    """

    task: Task

    @property
    def place(self) -> tuple[int, int]:
        """The place of the unit among all units of the run. No two units have the same place at a time."""
        return self.task.number, 0

    @abstractmethod
    def carry_out(self, context: WorkerContext) -> Any:
        """Do the work, on a worker."""


class Whole(Unit):
    """All of a task. The outcome is its ``done`` event."""

    def carry_out(self, context: WorkerContext) -> Done:
        """Read, enlarge and publish."""
        if not isinstance(self.task, PictureTask):
            with context.network:
                return context.work.make(self.task, context.ended)
        task, work = self.task, context.work.pictures
        loaded = work.read(task)
        with context.network:
            high = work.enlarge(task, loaded)
        del loaded
        return work.write(task, high, context.ended)


class Divide(Unit):
    """Finds out where the segments of a clip begin. The outcome is None if one worker must make the clip."""

    def carry_out(self, context: WorkerContext) -> Division | None:
        """Read the packets of the clip."""
        return context.work.clips.divide(cast(ClipTask, self.task))


@dataclass(frozen=True)
class MakePart(Unit):
    """Makes a segment of a clip. The outcome says how its frames were enlarged.

    Attributes:
        part: The segment.
        identity: Everything that the segments depend on.
        choice: The model.
    """

    part: Part
    identity: Mapping[str, Any] | None
    choice: Choice | None

    @property
    def place(self) -> tuple[int, int]:
        """The place of the unit: segments come in order, after the division."""
        return self.task.number, 1 + self.part.number

    def carry_out(self, context: WorkerContext) -> EnlargedFrames:
        """Decode, enlarge and encode."""
        task = cast(ClipTask, self.task)
        return context.work.clips.make_part(
            task, self.part, self.identity, self.choice, context.network, context.ended
        )


@dataclass(frozen=True)
class Join(Unit):
    """Joins the segments of a clip. The outcome is the clip's ``done`` event.

    Attributes:
        choice: The model.
        frames: Number of frames in all segments.
    """

    choice: Choice | None
    frames: int

    @property
    def place(self) -> tuple[int, int]:
        """The place of the unit: after all segments."""
        return self.task.number, _LAST

    def carry_out(self, context: WorkerContext) -> Done:
        """Mux and publish."""
        return context.work.clips.join(cast(ClipTask, self.task), self.choice, self.frames, context.ended)


class Waiting:
    """The units that wait for a worker, in the order of their places.

    Args:
        tasks: The tasks of the run, in order.
    """

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = deque(tasks)
        self._begun: list[tuple[tuple[int, int], Unit]] = []  # of tasks that were handed out before

    def __len__(self) -> int:
        return len(self._begun) + len(self._tasks)

    @property
    def tasks(self) -> Iterable[Task]:
        """The tasks that no worker has begun."""
        return self._tasks

    @property
    def first(self) -> Unit:
        """The next unit."""
        return self._begun[0][1] if self._begun else _first_of(self._tasks[0])

    def take(self) -> Unit:
        """Remove the next unit and return it. Those of tasks that were begun come first."""
        return heappop(self._begun)[1] if self._begun else _first_of(self._tasks.popleft())

    def add(self, unit: Unit) -> None:
        """Add a unit of a task that was begun."""
        heappush(self._begun, (unit.place, unit))

    def drop(self, task: Task) -> list[Unit]:
        """Remove all units of a task, and return them."""
        dropped = [unit for _, unit in self._begun if unit.task.number == task.number]
        self._begun = [entry for entry in self._begun if entry[1].task.number != task.number]
        heapify(self._begun)
        return dropped


def _first_of(task: Task) -> Unit:
    return Divide(task) if isinstance(task, ClipTask) and may_be_divided(task) else Whole(task)
