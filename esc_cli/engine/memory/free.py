"""Find out how much memory a device has left, without allocating any."""

import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from esc_cli.engine.memory.control_groups import Version, group_folders
from esc_cli.errors import OutOfMemoryError

_UNKNOWN_BYTES = 2 * 2**30
"""Assumed free memory if the system does not report any. Every machine that runs torch has as much."""


@dataclass(frozen=True)
class _Files:
    """The files and the key in which one version of Linux control groups reports memory."""

    limit: str
    usage: str
    cache_key: str


# Source: the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst. The inactive file
# cache counts as reclaimable, which is Kubernetes' rule (cAdvisor's "working set").
_FILES: dict[Version, _Files] = {
    1: _Files("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: _Files("memory.max", "memory.current", "inactive_file"),
}


def free_bytes(device: torch.device) -> int:
    """Return how many bytes of memory a device has left for tensors.

    On CUDA, memory that torch holds in reserve counts as free. On the CPU, the free memory is that of the
    machine or of the container, whichever is less.
    """
    if device.type == "cpu":
        return host_free_bytes()
    if device.type == "cuda":
        in_reserve = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + in_reserve
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return _UNKNOWN_BYTES


def release_reserve() -> None:
    """Release the memory that torch holds in reserve on an accelerator, so that pieces of other sizes fit."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is not None and torch.accelerator.is_available():
        getattr(torch, accelerator.type).empty_cache()


def host_free_bytes(root: Path = Path("/")) -> int:
    """Return how many bytes of memory this process may still take on the host.

    Args:
        root: Folder in which ``proc`` and ``sys`` are mounted.

    Returns:
        On Linux, the minimum of the memory that the kernel calls available and of what the limits of the
        process's control groups leave. On macOS, half of the installed memory. Elsewhere, a fixed guess.
    """
    meminfo = root / "proc/meminfo"
    if not meminfo.is_file():
        return _built_in_bytes() // 2
    available = _keyed_number(meminfo, "MemAvailable:")
    known = [available * 1024] if available is not None else []
    return max(0, min([*known, *_control_group_allowances(root)], default=_UNKNOWN_BYTES))


def check_room(what: str, needed_bytes: int, free_bytes: int, hint: str) -> None:
    """Refuse what takes more memory than there is, before any work.

    Args:
        what: The beginning of the error's message, such as "the result needs".
        needed_bytes: The memory that is needed.
        free_bytes: The memory that is free.
        hint: The hint of the error.

    Raises:
        OutOfMemoryError: More is needed than is free.
    """
    if needed_bytes > free_bytes:
        needed_mb, free_mb = math.ceil(needed_bytes / 2**20), free_bytes // 2**20  # never the same number
        raise OutOfMemoryError(f"{what} {needed_mb} MB of memory, but only {free_mb} MB are free", hint=hint)


def _built_in_bytes() -> int:
    if sys.platform == "win32":
        return 2 * _UNKNOWN_BYTES
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _control_group_allowances(root: Path) -> list[int]:
    """Return what the limits of the process's control groups, and of the groups around them, leave."""
    folders = group_folders("memory", root)
    return [left for version, folder in folders if (left := _allowance(folder, _FILES[version])) is not None]


def _allowance(folder: Path, files: _Files) -> int | None:
    limit, usage = _number(folder / files.limit), _number(folder / files.usage)
    if limit is None or usage is None:
        return None
    return limit - usage + (_keyed_number(folder / "memory.stat", files.cache_key) or 0)


def _number(file: Path) -> int | None:
    """Read a file that holds one number. Return None if it is missing or says ``max``."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _keyed_number(file: Path, key: str) -> int | None:
    """Read the number after ``key`` in a file of lines ``key number ...``. Return None if it is missing."""
    try:
        words = [line.split() for line in file.read_text().splitlines()]
    except OSError:
        return None
    return next((int(line[1]) for line in words if line[:1] == [key]), None)
