"""The driver of a run on a cluster: it hands out the tasks, and gives those of a lost worker to others."""

import importlib.util
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

from esc_cli.errors import DeviceError, EscError, UsageError
from esc_cli.jobs.cluster.worker import AT_ONCE, Job, Outcome, Worker
from esc_cli.jobs.events import Done, Engine, Event, Listener, WorkerLost, Workers
from esc_cli.jobs.pipeline import HEARS_SIGNALS_EVERY_S
from esc_cli.jobs.task import Task

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which is started for the run."""

MOST_DEATHS = 3
"""Number of workers that a task may cost while it is alone on them. A task whose workers die is a failure."""

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
        running: Tasks that it is doing, by Ray's stream of their events.
    """

    actor: Any
    node: str = ""
    check: Any = None
    lost_at: float | None = None
    running: dict[Any, Task] = field(default_factory=dict)


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
        self._suspects: set[int] = set()  # tasks that were on a worker when it died
        self._deaths: Counter[int] = Counter()  # of workers on which a task was alone
        self._models: set[str] = set()

    def outcomes(self, tasks: Iterable[Task]) -> Generator[tuple[Task, Future[Done]]]:
        """Do tasks on the workers, and yield the outcome of each, in the order in which they end.

        Raises:
            UsageError: Ray is not installed, there is no cluster, or it has another version.
            DeviceError: The cluster has no resources for a worker, or no worker is left.
            InputError: A machine cannot read the inputs.
            OutputError: A machine cannot write results.
        """
        waiting = deque(tasks)
        if not waiting:
            return
        with _connected(self._address), self._workers(len(waiting)):
            while waiting or any(hand.running for hand in self._hands):
                self._hand_out(waiting)
                for hand, stream in self._ready():
                    yield from self._heard(hand, stream, waiting)

    @contextmanager
    def _workers(self, tasks: int) -> Iterator[None]:
        """Start the workers and end them.

        They are ended politely: what is being published becomes complete, and nothing else is published.
        """
        import ray

        self._hands = [_Hand(actor) for actor in _actors(self._job, tasks)]
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
                checks[check].node = _node(check)
                checks[check].check = checks[check].lost_at = None
            late = len(checks) > len(ready)
            if not late or (len(checks) < len(self._hands) and time.monotonic() - begun > _STRAGGLERS_S):
                self._tell_of_workers()
                return
        raise DeviceError(f"no worker of the cluster started within {_PATIENCE_S:g} s")

    def _tell_of_workers(self) -> None:
        nodes = [hand.node for hand in self._hands if hand.lost_at is None]
        self._listener(Workers(len(nodes), tuple(sorted(set(nodes)))))

    def _hand_out(self, waiting: deque[Task]) -> None:
        """Give tasks to the workers that have room.

        A task that has cost a worker is done alone, so that it cannot take others with it.
        """
        for hand in self._hands:
            while waiting and hand.lost_at is None and self._has_room(hand, waiting[0]):
                task = waiting.popleft()
                stream = hand.actor.make.options(num_returns="streaming").remote(task)
                hand.running[stream] = task

    def _has_room(self, hand: _Hand, task: Task) -> bool:
        alone = any(one.number in self._suspects for one in (task, *hand.running.values()))
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

    def _heard(self, hand: _Hand, stream: Any, waiting: deque[Task]) -> Iterator[tuple[Task, Future[Done]]]:
        """Pass on what a worker has sent, and yield the outcome of a task that has ended."""
        import ray

        if stream is hand.check:
            self._returned(hand)
            return
        if stream not in hand.running:
            return  # its worker was lost a moment ago
        try:
            message = ray.get(next(stream))
        except ray.exceptions.RayError:
            yield from self._lost(hand, waiting)
            return
        for item in message:
            if isinstance(item, Outcome):
                yield hand.running.pop(stream), _future(item)
            else:
                self._pass_on(item)

    def _pass_on(self, event: Event) -> None:
        """Pass on an event. Of all workers with a model, only one tells of its engine."""
        if isinstance(event, Engine):
            if event.model in self._models:
                return
            self._models.add(event.model)
        self._listener(event)

    def _lost(self, hand: _Hand, waiting: deque[Task]) -> Iterator[tuple[Task, Future[Done]]]:
        """Give the tasks of a worker that died to others. Ray starts the worker again where there is room."""
        tasks, hand.running = list(hand.running.values()), {}
        hand.lost_at, hand.check = time.monotonic(), _called(hand.actor.check)
        for task in reversed(tasks):
            self._deaths[task.number] += len(tasks) == 1
            self._suspects.add(task.number)
            self._listener(WorkerLost(hand.node, task.source.name))
            if self._deaths[task.number] < MOST_DEATHS:
                waiting.appendleft(task)
            else:
                error = DeviceError(f"{MOST_DEATHS} workers died while they worked on this file")
                yield task, _future(Outcome(None, error))
        if hand.check is None:
            self._give_up(hand)

    def _returned(self, hand: _Hand) -> None:
        """Take a worker back that Ray has started again, or ask again later, or give it up."""
        import ray

        try:
            hand.node = _node(hand.check)
            hand.check = hand.lost_at = None
            self._tell_of_workers()
        except ray.exceptions.RayError:
            time.sleep(_PAUSE_S)
            hand.check = _called(hand.actor.check)
            if hand.check is None or time.monotonic() - cast(float, hand.lost_at) > _PATIENCE_S:
                self._give_up(hand)
        except EscError:
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
    if outcome.done is not None:
        future.set_result(outcome.done)
    else:
        future.set_exception(cast(Exception, outcome.error))
    return future


@contextmanager
def _connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, and disconnect at the end.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--ray needs Ray", hint="install it with: pip install 'esc-upscale[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # otherwise Ray warns on each start
    import ray

    where: dict[str, Any] = {"include_dashboard": False} if address == LOCAL else {"address": address}
    handler = signal.getsignal(signal.SIGTERM)
    try:
        _check_answers(address)
        ray.init(log_to_driver=False, logging_level="ERROR", configure_logging=False, **where)
    except (OSError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"there is no Ray cluster at {address!r}", hint=f"use --ray {LOCAL} for this machine alone"
        ) from error
    try:
        _silence(ray)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray has replaced it by one that ends at once
        yield
    finally:
        ray.shutdown()


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


def _actors(job: Job, tasks: int) -> list[Any]:
    """Start one worker for each GPU of the cluster, or for each share of the cores if there is no GPU.

    There are no more workers than tasks.

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
    return [remote.remote(job) for _ in range(min(workers, tasks))]


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
