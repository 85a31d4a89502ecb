"""Measure time and memory on a device, and the difference between tensors."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from esc_cli.engine.device import synchronize

_WARM_UP, _ROUNDS, _ROUNDS_ON_CPU = 3, 20, 2


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the mean time of a function in seconds, after some warm-up rounds."""
    for _ in range(_WARM_UP if device.type != "cpu" else 1):
        work()
    rounds = _ROUNDS if device.type != "cpu" else _ROUNDS_ON_CPU
    synchronize(device)
    begun = time.perf_counter()
    for _ in range(rounds):
        work()
    synchronize(device)
    return (time.perf_counter() - begun) / rounds


def milliseconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the mean time of a function in milliseconds, with four significant digits."""
    return float(f"{1e3 * seconds_of(work, device):.4g}")


def peak_bytes(device: torch.device) -> int | None:
    """Return the peak memory of tensors on a device since the start or the last reset; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def relative_error(result: Tensor, exact: Tensor) -> float:
    """Return the norm of the difference divided by the norm of the exact tensor; NaN stays NaN."""
    return float((result.double() - exact.double()).norm() / exact.double().norm())


def reason(error: Exception) -> str:
    """Return the type and the first line of an error."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]
