"""The driver of a run on a cluster: it hands out the tasks, and gives those of a lost worker to others."""

import importlib.util
import logging
import math
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from esc_cli.errors import DeviceError, EscError, UsageError
from esc_cli.jobs.clips import sinks
from esc_cli.jobs.clips.division import may_be_divided
from esc_cli.jobs.clips.task import ClipTask
from esc_cli.jobs.cluster.shared_clip import SharedClip
from esc_cli.jobs.cluster.units import Divide, MakePart, Outcome, Unit, Waiting
from esc_cli.jobs.cluster.worker import AT_ONCE, Job, Worker
from esc_cli.jobs.events import Done, Engine, Event, Listener, Progressed, Started, WorkerLost, Workers
from esc_cli.jobs.pipeline import HEARS_SIGNALS_EVERY_S
from esc_cli.jobs.task import Task

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which is started for the run."""

MOST_DEATHS = 3
"""Number of workers that a task, or a segment of a clip, may cost while it is alone on them.

A task whose workers die is a failure.
"""

CORES_A_WORKER = 1
"""Cores of a worker without a GPU. See docs/cluster.md for what was measured."""

_ANSWERS_WITHIN_S = 10.0

_STRAGGLERS_S = 20.0
"""Time after which the work begins without the workers that are not ready yet."""

_PAUSE_S = 0.002
"""Time between two looks at the workers. A task takes longer, and Ctrl-C is noticed at once."""

_PATIENCE_S = 300.0
"""Time in which a worker must have loaded its networks, at the start and after it died."""

_FAREWELL_S = 3.0
"""Time in which the workers may complete what they are publishing when the run ends early."""


@dataclass(eq=False)
class _Hand:
    """A worker as the driver sees it.

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
        self._hands: list[_Hand] = []
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
        with _connected(self._address), ExitStack() as folders, self._workers():
            folders.callback(self._close_clips)
            while self._waiting or any(hand.running for hand in self._hands):
                self._hand_out()
                for hand, stream in self._ready():
                    yield from self._heard(hand, stream)

    def _close_clips(self) -> None:
        for clip in self._clips.values():
            clip.close()

    @contextmanager
    def _workers(self) -> Iterator[None]:
        """Start the workers and end them.

        They are ended politely: what is being published becomes complete, and nothing else is published.
        """
        import ray

        self._hands = [_Hand(actor) for actor in _actors(self._job, _most_workers(self._waiting.tasks))]
        try:
            self._check_all()
            yield
        finally:
            farewells = [call for hand in self._hands if (call := _called(hand.actor.end)) is not None]
            if farewells:
                ray.wait(farewells, num_returns=len(farewells), timeout=_FAREWELL_S)
            for hand in self._hands:
                ray.kill(hand.actor)

    def _check_all(self) -> None:
        """Wait until the workers are ready, and refuse the run if one of them cannot do the work.

        Ray may not find room for all of them. Those that are late join when they are ready.
        """
        import ray

        begun = time.monotonic()
        for hand in self._hands:
            hand.lost_at, hand.check = begun, hand.actor.check.remote()
        while time.monotonic() - begun < _PATIENCE_S:
            checks = {hand.check: hand for hand in self._hands if hand.check is not None}
            ready, _ = ray.wait(list(checks), timeout=HEARS_SIGNALS_EVERY_S)
            for check in ready:
                self._take(checks[check])
            self._hands = [hand for hand in self._hands if hand.lost_at is None or hand.check is not None]
            if not self._hands:
                raise DeviceError("no worker of the cluster is left")
            late = sum(hand.check is not None for hand in self._hands)
            if not late or (late < len(self._hands) and time.monotonic() - begun > _STRAGGLERS_S):
                self._tell_of_workers()
                return
        raise DeviceError(f"no worker of the cluster started within {_PATIENCE_S:g} s")

    def _tell_of_workers(self) -> None:
        nodes = [hand.node for hand in self._hands if hand.lost_at is None]
        self._listener(Workers(len(nodes), tuple(sorted(set(nodes)))))

    def _hand_out(self) -> None:
        """Give units to the workers that have room, first to those that have the fewest.

        A unit that has cost a worker is done alone, so that it cannot take others with it.
        """
        for busy in range(AT_ONCE):
            for hand in self._hands:
                if not self._waiting:
                    return
                if hand.lost_at is None and len(hand.running) == busy and self._has_room(hand):
                    unit = self._waiting.take()
                    if isinstance(unit, Divide) and unit.task.number not in self._clips:
                        self._clips[unit.task.number] = SharedClip(cast(ClipTask, unit.task), self._waiting)
                    stream = hand.actor.make.options(num_returns="streaming").remote(unit)
                    hand.running[stream] = unit

    def _has_room(self, hand: _Hand) -> bool:
        units = (self._waiting.first, *hand.running.values())
        alone = any(unit.place in self._suspects for unit in units)
        return not hand.running if alone else len(hand.running) < AT_ONCE

    def _ready(self) -> list[tuple[_Hand, Any]]:
        """Wait a moment for the workers, and return the streams and checks that have something new."""
        import ray

        owners = {stream: hand for hand in self._hands for stream in hand.running}
        owners |= {hand.check: hand for hand in self._hands if hand.check is not None}
        waited = list(owners)
        ready: list[Any] = []
        if waited:
            ready, _ = ray.wait(waited, num_returns=len(waited), timeout=0)
        if not ready:
            time.sleep(_PAUSE_S)
        return [(owners[one], one) for one in ready]

    def _heard(self, hand: _Hand, stream: Any) -> Iterator[tuple[Task, Future[Done]]]:
        """Pass on what a worker has sent, and yield the outcome of a task that has ended."""
        import ray

        if stream is hand.check:
            self._returned(hand)
            return
        if stream not in hand.running:
            return  # its worker was lost a moment ago
        unit = hand.running[stream]
        try:
            message = ray.get(next(stream))
        except ray.exceptions.RayError:
            yield from self._lost(hand)
            return
        for item in message:
            if isinstance(item, Outcome):
                del hand.running[stream]
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

    def _lost(self, hand: _Hand) -> Iterator[tuple[Task, Future[Done]]]:
        """Give the units of a worker that died to others. Ray starts the worker again where there is room."""
        units, hand.running = list(hand.running.values()), {}
        hand.lost_at, hand.check = time.monotonic(), _called(hand.actor.check)
        for name in dict.fromkeys(unit.task.source.name for unit in units):
            self._listener(WorkerLost(hand.node, name))
        for unit in units:
            self._deaths[unit.place] += len(units) == 1
            self._suspects.add(unit.place)
            if self._deaths[unit.place] < MOST_DEATHS:
                self._try_again(unit)
            else:
                error = DeviceError(f"{MOST_DEATHS} workers died while they worked on this file")
                yield from self._ended(unit, Outcome(None, error, is_deadly=True))
        if hand.check is None:
            self._give_up(hand)

    def _try_again(self, unit: Unit) -> None:
        clip = self._clips.get(unit.task.number)
        if clip is not None:
            clip.lost(unit)
        elif isinstance(unit, MakePart):
            return  # the clip was given up
        self._waiting.add(unit)

    def _take(self, hand: _Hand) -> None:
        """Note that a worker is ready, or ask it again if it died. It has no check if it is gone for good.

        Raises:
            EscError: The worker cannot do the work.
        """
        import ray

        try:
            hand.node = _node(hand.check)
            hand.check = hand.lost_at = None
        except ray.exceptions.RayError:
            time.sleep(_PAUSE_S)
            hand.check = _called(hand.actor.check)

    def _returned(self, hand: _Hand) -> None:
        """Take a worker back that Ray has started again, or ask again later, or give it up."""
        try:
            self._take(hand)
        except EscError:
            self._give_up(hand)
            return
        if hand.lost_at is None:
            self._tell_of_workers()
        elif hand.check is None or time.monotonic() - hand.lost_at > _PATIENCE_S:
            self._give_up(hand)

    def _give_up(self, hand: _Hand) -> None:
        self._hands.remove(hand)
        if not self._hands:
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


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, and disconnect at the end.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
        DeviceError: Ray cannot start a cluster on this machine.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--ray needs Ray", hint="install it with: pip install 'esc-upscale[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # otherwise Ray warns on each start
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # ``logging_level`` comes too late for some warnings
    where: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(address)
        ray.init(log_to_driver=False, logging_level="ERROR", configure_logging=False, **where)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unconnected(address, error) from error
    try:
        _silence(ray)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has replaced it by one that ends at once
        yield
    finally:
        ray.shutdown()


def _unconnected(address: str, error: Exception) -> EscError:
    """Return our own error for one of Ray's while it connects."""
    if address == LOCAL:
        named = isinstance(error, OSError) and error.filename is not None
        reason = f": {error.filename!r}: {error.strerror}" if named else ""  # type: ignore[attr-defined]
        return DeviceError(f"Ray cannot start a cluster on this machine{reason}", hint="leave out --ray")
    hint = f"use --ray {LOCAL} for this machine alone"
    return UsageError(f"there is no Ray cluster at {address!r}", hint=hint)


def _silence(ray: Any) -> None:
    """Stop Ray from printing its messages about dead workers on standard output, where results may go.

    Ray has no option for this: ``log_to_driver`` concerns only what workers print.
    """
    if hasattr(ray._private.worker, "print_to_stdstream"):
        ray._private.worker.print_to_stdstream = lambda *_, **__: None


def _check_answers(address: str) -> None:
    """Check that something listens at an address. Otherwise, Ray would try again for minutes.

    Raises:
        OSError: Nothing answers.
        ValueError: This is not an address.
    """
    if address not in (LOCAL, "auto"):
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN_S).close()


def _actors(job: Job, most: float) -> list[Any]:
    """Start one worker for each GPU of the cluster, or for each share of the cores if there is no GPU.

    Args:
        job: The job of the workers.
        most: The largest number of workers that have something to do.

    Raises:
        DeviceError: The cluster has no resources for a worker.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    resources, workers = shares(nodes, job.worker_bytes, on_cpu=job.options.device == "cpu")
    if not workers:
        raise DeviceError("the cluster has neither a GPU nor a CPU core that is free for a worker")
    job = replace(job, threads=int(resources["num_cpus"]))
    remote = ray.remote(Worker).options(
        max_restarts=-1, max_concurrency=AT_ONCE + 2, scheduling_strategy="SPREAD", **resources
    )
    return [remote.remote(job) for _ in range(min(workers, math.ceil(min(most, workers))))]


def shares(
    nodes: Sequence[Mapping[str, float]], worker_bytes: int, *, on_cpu: bool
) -> tuple[dict[str, Any], int]:
    """Divide the machines of a cluster among workers.

    Args:
        nodes: What each machine has, in Ray's terms: ``CPU``, ``GPU``, ``memory``.
        worker_bytes: Memory of a worker. If no machine has so much, no memory is reserved.
        on_cpu: Whether GPUs are not used.

    Returns:
        What each worker gets, as Ray's options for actors, and the number of workers.
    """
    with_gpus = not on_cpu and any(node.get("GPU", 0) >= 1 for node in nodes)
    unit, cores = ("GPU", 1) if with_gpus else ("CPU", CORES_A_WORKER)
    counts = [(int(node.get(unit, 0)) // cores, int(node.get("memory", 0)) // worker_bytes) for node in nodes]
    options: dict[str, Any] = {"num_cpus": CORES_A_WORKER, **({"num_gpus": 1} if with_gpus else {})}
    if any(min(count) for count in counts):
        return {**options, "memory": worker_bytes}, sum(min(count) for count in counts)
    return options, sum(count for count, _ in counts)
