"""Which attention backend to use, and why."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

import torch
from torch import Tensor

from esc_cli.errors import DeviceError, UsageError
from esc_cli.networks.attention.logistic_weights import are_available
from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

EXACT = "sdpa"
"""Fused, exact, in every precision on every device: what all others are measured against."""

BLOCKED = "1.1 times as fast as sdpa in bfloat16 where it was measured"
"""ESC x4 at 128x128 on an EPYC with AVX-512, two cores: 457 ms against 492. Not measured anew in each run:
results would depend on which was faster."""

_WINDOW_PX, _HEADS, _CHANNELS = 32, 4, 16
"""Of ESC, whose attention is what is measured."""

_WINDOWS, _ROUNDS = 32, 5


@dataclass(frozen=True)
class AttentionChoice:
    """An attention backend that was seen to compute.

    Attributes:
        name: As in ``ATTENTION_BACKENDS``.
        reason: Why this one, as the end of a sentence: "asked for", "the fastest measured: ...".
    """

    name: str
    reason: str


def choose_attention(request: str, device: torch.device, dtype: torch.dtype) -> AttentionChoice:
    """Choose the attention backend and try it once.

    ``auto`` chooses among what runs at once: it never compiles, since the seconds that ``flex`` takes for
    that are more than a single picture. Where there is more than one candidate they are measured, once for
    a device and a precision.

    Args:
        request: ``auto``, or a name in ``ATTENTION_BACKENDS``.
        device: Where the network will run.
        dtype: Of its features.

    Raises:
        UsageError: There is no such backend.
        DeviceError: The device cannot run it in this precision.
    """
    if request == "auto":
        return _automatic(device, dtype)
    if request not in ATTENTION_BACKENDS:
        raise UsageError(
            f"there is no attention {request!r}", hint=f"one of auto, {', '.join(ATTENTION_BACKENDS)}"
        )
    _try(request, device, dtype)
    return AttentionChoice(request, "asked for")


@cache
def _automatic(device: torch.device, dtype: torch.dtype) -> AttentionChoice:
    if device.type == "cpu" and _runs("blocked", device, dtype):
        return AttentionChoice("blocked", BLOCKED)
    candidates = [EXACT, *(name for name in ("flash",) if _runs(name, device, dtype))]
    if len(candidates) == 1:
        return AttentionChoice(EXACT, "fused and exact, the only candidate here")
    times_s = measure(candidates, device, dtype)
    name = min(times_s, key=times_s.__getitem__)
    listed = ", ".join(f"{candidate} {1e3 * times_s[candidate]:.2f} ms" for candidate in times_s)
    return AttentionChoice(name, f"the fastest measured: {listed}")


def measure(
    names: Sequence[str], device: torch.device, dtype: torch.dtype, windows: int = _WINDOWS
) -> dict[str, float]:
    """Time backends on the attention of one block of ESC, interleaved.

    Returns:
        Seconds by name, the median of several rounds after one that is not counted.
    """
    runs = {name: _workload(name, device, dtype, windows, _WINDOW_PX) for name in names}
    rounds = [{name: _time_s(run, device) for name, run in runs.items()} for _ in range(_ROUNDS + 1)]
    return {name: median(times_s[name] for times_s in rounds[1:]) for name in names}


def _time_s(run: Callable[[], object], device: torch.device) -> float:
    _synchronize(device)
    start = time.perf_counter()
    run()
    _synchronize(device)
    return time.perf_counter() - start


def _runs(name: str, device: torch.device, dtype: torch.dtype) -> bool:
    try:
        _try(name, device, dtype)
    except DeviceError:
        return False
    return True


def _try(name: str, device: torch.device, dtype: torch.dtype) -> None:
    if name == "flash" and (device.type != "cuda" or dtype == torch.float32):
        raise DeviceError(
            "flash attention is for half precision on a CUDA device", hint=f"{EXACT} is exact and works here"
        )
    if name == "blocked" and not are_available(torch.empty(0, device=device, dtype=dtype)):
        raise DeviceError(
            "blocked attention is for bfloat16 on CPUs with instructions for it",
            hint=f"{EXACT} is exact and works here",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch explains in several warnings why it has no kernel
            _workload(name, device, dtype, 1, 8)()
            _synchronize(device)
    except Exception as error:  # compilers and kernels fail each in their own way
        reason = str(error).strip().partition("\n")[0]
        raise DeviceError(
            f"{device} cannot compute {name} attention: {reason}", hint=f"{EXACT} works everywhere"
        ) from error


def _workload(
    name: str, device: torch.device, dtype: torch.dtype, windows: int, window_px: int
) -> Callable[[], Tensor]:
    # Tensors made in inference mode show no changes, so that nothing made of them would be kept.
    with torch.inference_mode(mode=False):
        tokens = torch.zeros(windows, _HEADS, window_px**2, _CHANNELS, dtype=dtype, device=device)
        table = torch.zeros(_HEADS, (2 * window_px - 1) ** 2, dtype=dtype, device=device)
    bias = TableBias(table, window_px)
    backend = torch.inference_mode()(ATTENTION_BACKENDS[name])
    return lambda: backend(tokens, tokens, tokens, bias)


def _synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
