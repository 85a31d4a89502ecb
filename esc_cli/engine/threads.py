"""Count the processor cores that this process may use, and limit torch's threads to them.

A container may have fewer cores than its machine.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from esc_cli.engine.memory.control_groups import group_folders

_VARIABLE = "OMP_NUM_THREADS"
"""Environment variable that sets the number of threads of torch and many other programs."""

VALUES_PER_THREAD = 2**20
"""Values of a result that occupy a thread which only copies and converts them.

With ``nearest``, two threads on two cores make 640x480 pixels, which are 921,600 values, no faster than one
thread does (6.3 and 6.6 ms at best). While other processes kept the cores busy, they took 3 to 35 times as
long.
"""


def usable_cores(root: Path = Path("/")) -> int:
    """Return how many cores this process may keep busy: the minimum of affinity and container quota.

    A quota of one and a half cores counts as two. Torch's threads wait for each other, and one thread more
    than the quota costs less than one idle core.

    Args:
        root: Root of the file system. Tests pass another folder.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(cores) for cores in _quotas(root)]
    return max(min([allowed, *quotas]), 1)


@contextmanager
def computing_with(threads: int | None) -> Iterator[None]:
    """Limit torch's threads inside this context. OpenVINO takes over torch's number.

    Args:
        threads: Number of threads. None means one per core. There are never more than cores that may be used.
    """
    with _restored_threads():
        limit_threads()
        if threads is not None:
            torch.set_num_threads(min(threads, usable_cores()))
        yield


def threads_in_use(asked: int | None) -> tuple[int, str]:
    """Return the number of torch's threads, and the reason for it.

    Args:
        asked: The number that the user asked for, or None.
    """
    threads = torch.get_num_threads()
    if asked is None:
        reason = f"set by {_VARIABLE}" if _VARIABLE in os.environ else "one per core"
    else:
        reason = "asked for" if threads == asked else f"{asked} asked for, but there are no more cores"
    return threads, reason


@contextmanager
def copying(values: int) -> Iterator[None]:
    """Limit torch's threads inside this context to those that are worth waiting for.

    Args:
        values: Number of values that are copied and converted, without a network that multiplies them.
    """
    with _restored_threads() as threads:
        torch.set_num_threads(max(1, min(threads, values // VALUES_PER_THREAD)))
        yield


@contextmanager
def _restored_threads() -> Iterator[int]:
    """Yield torch's number of threads, and restore it at the end of this context."""
    before = torch.get_num_threads()
    try:
        yield before
    finally:
        torch.set_num_threads(before)


def limit_threads() -> None:
    """Make torch use no more threads than it has cores. A lower limit that is already set stays.

    Torch respects the affinity, but not a container's quota. With 64 threads on a quota of 2 cores, the
    kernel stops all of them for most of every tenth of a second.
    """
    cores = usable_cores()
    if torch.get_num_threads() > cores:
        torch.set_num_threads(cores)


def _quotas(root: Path) -> list[float]:
    """Return the cores that each control group around this process allows, for both cgroup versions."""
    folders = group_folders("cpu", root)
    return [cores for version, folder in folders if (cores := _READ[version](folder)) is not None]


def _second_version(folder: Path) -> float | None:
    return _cores(_read(folder / "cpu.max").split())


def _first_version(folder: Path) -> float | None:
    return _cores([_read(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")])


_READ = {1: _first_version, 2: _second_version}


def _cores(words: list[str]) -> float | None:
    """Return quota divided by period, both in microseconds; None without a quota (``max``, -1 or no file)."""
    try:
        quota_us, period_us = (int(word) for word in words)
    except ValueError:
        return None
    return quota_us / period_us if quota_us > 0 and period_us > 0 else None


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
