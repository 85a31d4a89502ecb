"""How long something takes on a device, and how far one tensor is from another."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UP, _ROUNDS, _ROUNDS_ON_CPU = 3, 20, 2


def synchronize(device: torch.device) -> None:
    """Wait until a device has done all that it was asked for."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Give the mean time of a piece of work, after some rounds that are not counted."""
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
    """Give the same in milliseconds, with four digits."""
    return float(f"{1e3 * seconds_of(work, device):.4g}")


def peak_bytes(device: torch.device) -> int | None:
    """Give the most memory that tensors have had on a device since the process began; None on the CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def relative_error(result: Tensor, exact: Tensor) -> float:
    """Give the norm of the difference by the norm of what is exact; NaN stays NaN."""
    return float((result.double() - exact.double()).norm() / exact.double().norm())


def reason(error: Exception) -> str:
    """Give the first line of an error, with its type."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"[:300]
