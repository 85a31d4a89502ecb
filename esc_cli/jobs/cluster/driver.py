"""The driver of a run on a cluster: it hands out the tasks, and gives those of a lost worker to others."""

import math
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from esc_cli.errors import DeviceError, EscError
from esc_cli.jobs.clips import sinks
from esc_cli.jobs.clips.division import may_be_divided
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.cluster.connection import connected, start_workers
from esc_cli.jobs.cluster.shared_clip import SharedClip
from esc_cli.jobs.cluster.units import Divide, MakePart, Outcome, Unit, Waiting
from esc_cli.jobs.cluster.worker import AT_ONCE, Job
from esc_cli.jobs.events import Done, Engine, Event, Listener, Progressed, Started, WorkerLost, Workers
from esc_cli.jobs.pipeline import HEARS_SIGNALS_EVERY_S
from esc_cli.jobs.task import Task

MOST_DEATHS = 3
"""Number of workers that a task, or a segment of a clip, may cost while it is alone on them.

A task whose workers die is a failure.
"""

_STRAGGLERS_S = 20.0
"""Time after which the work begins without the workers that are not ready yet."""

_PAUSE_S = 0.002
"""Time between two looks at the workers. A task takes longer, and Ctrl-C is noticed at once."""

_PATIENCE_S = 300.0
"""Time in which a worker must have loaded its networks, at the start and after it died."""

_FAREWELL_S = 3.0
"""Time in which the workers may complete what they are publishing when the run ends early."""


@dataclass(eq=False)
class _RemoteWorker:
    """A worker on the cluster, as the driver sees it.

    Attributes:
        actor: Ray's handle of the worker.
        node: Name of its machine.
        check: The call that tells whether the worker is ready; None if there is none.
        lost_at: Time at which the worker died; None if it is alive.
        running: Units that it is doing, by Ray's stream of their events.
    """

    actor: Any
    node: str = ""
    check: Any = None
    lost_at: float | None = None
    running: dict[Any, Unit] = field(default_factory=dict)


class Driver:
    """The workers of a run, from the start of the cluster to its end.

    Args:
        address: ``local``, ``auto``, or an address of a cluster such as ``ray://head:10001``.
        job: The job of the workers. Its number of threads is decided here.
        listener: A function that receives the events of the workers.
    """

    def __init__(self, address: str, job: Job, listener: Listener) -> None:
        self._address = address
        self._job = job
        self._listener = listener
        self._workers: list[_RemoteWorker] = []
        self._waiting = Waiting(())
        self._clips: dict[int, SharedClip] = {}  # by the number of the task
        self._suspects: set[tuple[int, int]] = set()  # places of units that were on a worker when it died
        self._deaths: Counter[tuple[int, int]] = Counter()  # of workers on which a unit was alone
        self._told_of: set[str | int] = set()  # models, and numbers of tasks

    def outcomes(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Future[Done]]]:
        """Do tasks on the workers, and yield the outcome of each, in the order in which they end.

        Raises:
            UsageError: Ray is not installed, there is no cluster, or it has another version.
            DeviceError: The cluster has no resources for a worker, or no worker is left.
            InputError: A machine cannot read the inputs.
            OutputError: A machine cannot write results.
        """
        self._waiting = Waiting(tasks)
        if not self._waiting:
            return
        with connected(self._address), ExitStack() as folders, self._started_workers():
            folders.callback(self._close_clips)
            while self._waiting or any(worker.running for worker in self._workers):
                self._hand_out()
                for worker, stream in self._ready():
                    yield from self._heard(worker, stream)

    def _close_clips(self) -> None:
        for clip in self._clips.values():
            clip.close()

    @contextmanager
    def _started_workers(self) -> Iterator[None]:
        """Start the workers and end them.

        They are ended politely: what is being published becomes complete, and nothing else is published.
        """
        import ray

        self._workers = [
            _RemoteWorker(actor) for actor in start_workers(self._job, _most_workers(self._waiting.tasks))
        ]
        try:
            self._check_all()
            yield
        finally:
            farewells = [call for worker in self._workers if (call := _called(worker.actor.end)) is not None]
            if farewells:
                ray.wait(farewells, num_returns=len(farewells), timeout=_FAREWELL_S)
            for worker in self._workers:
                ray.kill(worker.actor)

    def _check_all(self) -> None:
        """Wait until the workers are ready, and refuse the run if one of them cannot do the work.

        Ray may not find room for all of them. Those that are late join when they are ready.
        """
        import ray

        begun = time.monotonic()
        for worker in self._workers:
            worker.lost_at, worker.check = begun, worker.actor.check.remote()
        while time.monotonic() - begun < _PATIENCE_S:
            checks = {worker.check: worker for worker in self._workers if worker.check is not None}
            ready, _ = ray.wait(list(checks), timeout=HEARS_SIGNALS_EVERY_S)
            for check in ready:
                self._take(checks[check])
            self._workers = [
                worker for worker in self._workers if worker.lost_at is None or worker.check is not None
            ]
            if not self._workers:
                raise DeviceError("no worker of the cluster is left")
            late = sum(worker.check is not None for worker in self._workers)
            if not late or (late < len(self._workers) and time.monotonic() - begun > _STRAGGLERS_S):
                self._tell_of_workers()
                return
        raise DeviceError(f"no worker of the cluster started within {_PATIENCE_S:g} s")

    def _tell_of_workers(self) -> None:
        nodes = [worker.node for worker in self._workers if worker.lost_at is None]
        self._listener(Workers(len(nodes), tuple(sorted(set(nodes)))))

    def _hand_out(self) -> None:
        """Give units to the workers that have room, first to those that have the fewest.

        A unit that has cost a worker is done alone, so that it cannot take others with it.
        """
        for busy in range(AT_ONCE):
            for worker in self._workers:
                if not self._waiting:
                    return
                if worker.lost_at is None and len(worker.running) == busy and self._has_room(worker):
                    unit = self._waiting.take()
                    if isinstance(unit, Divide) and unit.task.number not in self._clips:
                        self._clips[unit.task.number] = SharedClip(cast(ClipTask, unit.task), self._waiting)
                    stream = worker.actor.make.options(num_returns="streaming").remote(unit)
                    worker.running[stream] = unit

    def _has_room(self, worker: _RemoteWorker) -> bool:
        units = (self._waiting.first, *worker.running.values())
        alone = any(unit.place in self._suspects for unit in units)
        return not worker.running if alone else len(worker.running) < AT_ONCE

    def _ready(self) -> list[tuple[_RemoteWorker, Any]]:
        """Wait a moment for the workers, and return the streams and checks that have something new."""
        import ray

        owners = {stream: worker for worker in self._workers for stream in worker.running}
        owners |= {worker.check: worker for worker in self._workers if worker.check is not None}
        waited = list(owners)
        ready: list[Any] = []
        if waited:
            ready, _ = ray.wait(waited, num_returns=len(waited), timeout=0)
        if not ready:
            time.sleep(_PAUSE_S)
        return [(owners[one], one) for one in ready]

    def _heard(self, worker: _RemoteWorker, stream: Any) -> Iterator[tuple[Task, Future[Done]]]:
        """Pass on what a worker has sent, and yield the outcome of a task that has ended."""
        import ray

        if stream is worker.check:
            self._returned(worker)
            return
        if stream not in worker.running:
            return  # its worker was lost a moment ago
        unit = worker.running[stream]
        try:
            message = ray.get(next(stream))
        except ray.exceptions.RayError:
            yield from self._lost(worker)
            return
        for item in message:
            if isinstance(item, Outcome):
                del worker.running[stream]
                yield from self._ended(unit, item)
            else:
                self._pass_on(unit, item)

    def _pass_on(self, unit: Unit, event: Event) -> None:
        """Pass on an event.

        Of all workers with a model, only one tells of its engine, and of all workers on a clip, only one
        tells that it begins.
        """
        if isinstance(event, Engine | Started):
            key = event.model if isinstance(event, Engine) else event.number
            if key in self._told_of:
                return
            self._told_of.add(key)
        clip = self._clips.get(unit.task.number)
        if isinstance(event, Progressed) and isinstance(unit, MakePart):
            if clip is None:
                return
            event = clip.progress(unit, event)
        self._listener(event)

    def _ended(self, unit: Unit, outcome: Outcome) -> Iterator[tuple[Task, Future[Done]]]:
        """Yield the outcome of a task that has ended with one of its units."""
        clip = self._clips.get(unit.task.number)
        if clip is not None:
            for last in clip.hear(unit, outcome):
                del self._clips[unit.task.number]
                yield unit.task, _future(last)
        elif not isinstance(unit, MakePart):  # otherwise, the clip was given up while the segment was made
            yield unit.task, _future(outcome)

    def _lost(self, worker: _RemoteWorker) -> Iterator[tuple[Task, Future[Done]]]:
        """Give the units of a worker that died to others. Ray starts the worker again where there is room."""
        units, worker.running = list(worker.running.values()), {}
        worker.lost_at, worker.check = time.monotonic(), _called(worker.actor.check)
        for name in dict.fromkeys(unit.task.source.name for unit in units):
            self._listener(WorkerLost(worker.node, name))
        for unit in units:
            self._deaths[unit.place] += len(units) == 1
            self._suspects.add(unit.place)
            if self._deaths[unit.place] < MOST_DEATHS:
                self._try_again(unit)
            else:
                error = DeviceError(f"{MOST_DEATHS} workers died while they worked on this file")
                yield from self._ended(unit, Outcome(None, error, is_deadly=True))
        if worker.check is None:
            self._give_up(worker)

    def _try_again(self, unit: Unit) -> None:
        clip = self._clips.get(unit.task.number)
        if clip is not None:
            clip.lost(unit)
        elif isinstance(unit, MakePart):
            return  # the clip was given up
        self._waiting.add(unit)

    def _take(self, worker: _RemoteWorker) -> None:
        """Note that a worker is ready, or ask it again if it died. It has no check if it is gone for good.

        Raises:
            EscError: The worker cannot do the work.
        """
        import ray

        try:
            worker.node = _node(worker.check)
            worker.check = worker.lost_at = None
        except ray.exceptions.RayError:
            time.sleep(_PAUSE_S)
            worker.check = _called(worker.actor.check)

    def _returned(self, worker: _RemoteWorker) -> None:
        """Take a worker back that Ray has started again, or ask again later, or give it up."""
        try:
            self._take(worker)
        except EscError:
            self._give_up(worker)
            return
        if worker.lost_at is None:
            self._tell_of_workers()
        elif worker.check is None or time.monotonic() - worker.lost_at > _PATIENCE_S:
            self._give_up(worker)

    def _give_up(self, worker: _RemoteWorker) -> None:
        self._workers.remove(worker)
        if not self._workers:
            raise DeviceError("no worker of the cluster is left")
        self._tell_of_workers()


def _called(method: Any) -> Any:
    """Call a method of a worker, and return Ray's handle of the call; None if the worker is gone for good."""
    try:
        return method.remote()
    except Exception:  # noqa: BLE001 - Ray has no class for this
        return None


def _node(check: Any) -> str:
    """Return the name of the machine of a worker that has checked itself.

    Raises:
        EscError: The worker cannot do the job. The message names the machine.
    """
    import ray

    node, problem = cast("tuple[str, EscError | None]", ray.get(check))
    if problem is not None:
        raise type(problem)(f"the worker on {node} cannot do the work: {problem.message}", hint=problem.hint)
    return node


def _future(outcome: Outcome) -> Future[Done]:
    future: Future[Done] = Future()
    if outcome.error is None:
        future.set_result(outcome.made)
    else:
        future.set_exception(outcome.error)
    return future


def _most_workers(tasks: Iterable[Task]) -> float:
    """Return the largest number of workers that can work on tasks at the same time."""
    return sum(_most_units(task) for task in tasks)


def _most_units(task: Task) -> float:
    if not isinstance(task, ClipTask) or not may_be_divided(task):
        return 1
    frames = math.inf if task.clip.frames is None else task.probe.frames
    return max(1, frames / sinks.SEGMENT_FRAMES)
