"""Connect to a Ray cluster, or start one on this machine, and start the workers of a run on it."""

import importlib.util
import logging
import math
import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from esc_cli.errors import DeviceError, EscError, UsageError
from esc_cli.jobs.cluster.worker import AT_ONCE, Job, Worker
from esc_cli.version import install_hint

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which is started for the run."""

CORES_A_WORKER = 1
"""Cores of a worker without a GPU. See docs/cluster.md for what was measured."""

_ANSWERS_WITHIN_S = 10.0
"""Time in which a cluster must accept a connection. Ray itself would try again for minutes."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connect to a cluster, or start one on this machine, and disconnect at the end.

    Raises:
        UsageError: Ray is not installed, or no cluster answers.
        DeviceError: Ray cannot start a cluster on this machine.
    """
    if importlib.util.find_spec("ray") is None:
        raise UsageError("--ray needs Ray", hint=install_hint("ray"))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # otherwise Ray warns on each start
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)  # ``logging_level`` comes too late for some warnings
    where: dict[str, Any] = {"address": address}
    if address == LOCAL:  # a new cluster; without an address, Ray would join one that runs on this machine
        where["include_dashboard"] = False
        os.environ.setdefault("RAY_worker_niceness", "0")  # otherwise it is 15, and a plain run goes first
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
    """Check that something listens at an address.

    Raises:
        OSError: Nothing answers.
        ValueError: This is not an address.
    """
    if address not in (LOCAL, "auto"):
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN_S).close()


def start_workers(job: Job, most: float) -> list[Any]:
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
        nodes: The resources of each machine, under Ray's names: ``CPU``, ``GPU``, ``memory``.
        worker_bytes: Memory of a worker. If no machine has so much, no memory is reserved.
        on_cpu: Whether GPUs are not used.

    Returns:
        The resources of each worker, as Ray's options for actors, and the number of workers.
    """
    with_gpus = not on_cpu and any(node.get("GPU", 0) >= 1 for node in nodes)
    unit, cores = ("GPU", 1) if with_gpus else ("CPU", CORES_A_WORKER)
    counts = [(int(node.get(unit, 0)) // cores, int(node.get("memory", 0)) // worker_bytes) for node in nodes]
    options: dict[str, Any] = {"num_cpus": CORES_A_WORKER, **({"num_gpus": 1} if with_gpus else {})}
    if any(min(count) for count in counts):
        return {**options, "memory": worker_bytes}, sum(min(count) for count in counts)
    return options, sum(count for count, _ in counts)
