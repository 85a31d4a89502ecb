"""Choose the attention backend, with a reason."""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median

import torch
from torch import Tensor

from esc_cli.engine.device import has_amx, synchronize
from esc_cli.errors import DeviceError, UsageError, first_line
from esc_cli.networks.attention.position_bias import TableBias
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS, AUTOMATIC

EXACT = "sdpa"
"""The reference for all other backends: fused and exact, in every precision on every device."""

BLOCKED = "1.1 times as fast as sdpa in bfloat16 where it was measured"
"""Measured with ESC x4 at 128x128 on an EPYC with AVX-512, two cores: 457 ms against 492 ms.

It is the usual choice on processors without AMX. A large job measures it on its machine; see
``esc_cli.engine.tuning``.
"""

AMX = "1.4 times as fast as blocked in bfloat16 on a processor with AMX"
"""Measured with ESC x4 at 128x128 on a Xeon, two cores: 465 ms against 659 ms."""

_WINDOW_PX, _HEADS, _CHANNELS = 32, 4, 16
"""Sizes of ESC's attention, which is the workload that is measured."""

_WINDOWS, _ROUNDS = 32, 5
"""Number of windows in this workload, and number of rounds that count."""


@dataclass(frozen=True)
class AttentionChoice:
    """An attention backend that was tried and works.

    Attributes:
        name: Name in ``ATTENTION_BACKENDS``.
        reason: Reason for the choice, as the end of a sentence: "asked for", "the fastest measured: ...".
    """

    name: str
    reason: str


def choose_attention(request: str, device: torch.device, dtype: torch.dtype) -> AttentionChoice:
    """Choose the attention backend and try it once.

    ``auto`` chooses among backends that need no compilation, because ``flex`` takes longer to compile than a
    single picture takes. If there is more than one candidate, they are measured once for each device and
    precision.

    Args:
        request: ``auto``, or a name in ``ATTENTION_BACKENDS``.
        device: Device that the network will run on.
        dtype: Type of the network's features.

    Raises:
        UsageError: The backend does not exist.
        DeviceError: The device cannot run it in this precision.
    """
    if request == "auto":
        return _automatic(device, dtype)
    if request not in ATTENTION_BACKENDS:
        raise UsageError(
            f"there is no attention {request!r}", hint=f"choose one of auto, {', '.join(ATTENTION_BACKENDS)}"
        )
    _try(request, device, dtype)
    return AttentionChoice(request, "asked for")


@cache
def _automatic(device: torch.device, dtype: torch.dtype) -> AttentionChoice:
    if device.type == "cpu" and _runs("blocked", device, dtype):
        return choose_on_cpu(torch.cpu.get_capabilities())
    candidates = [EXACT, *(name for name in AUTOMATIC if name != EXACT and _runs(name, device, dtype))]
    if len(candidates) == 1:
        return AttentionChoice(EXACT, "fused and exact, the only candidate here")
    times_s = measure(candidates, device, dtype)
    name = min(times_s, key=times_s.__getitem__)
    listed = ", ".join(f"{candidate} {1e3 * times_s[candidate]:.2f} ms" for candidate in times_s)
    return AttentionChoice(name, f"the fastest measured: {listed}")


def choose_on_cpu(capabilities: Mapping[str, object]) -> AttentionChoice:
    """Choose the usual backend in bfloat16 on a CPU, given its capabilities in torch."""
    return AttentionChoice(EXACT, AMX) if has_amx(capabilities) else AttentionChoice("blocked", BLOCKED)


def measure(
    names: Sequence[str], device: torch.device, dtype: torch.dtype, windows: int = _WINDOWS
) -> dict[str, float]:
    """Time backends on the attention of one block of ESC, in interleaved rounds.

    Returns:
        Seconds by name: the median of several rounds, after one round that is not counted.
    """
    runs = {name: _workload(name, device, dtype, windows, _WINDOW_PX) for name in names}
    rounds = [{name: _time_s(run, device) for name, run in runs.items()} for _ in range(_ROUNDS + 1)]
    return {name: median(times_s[name] for times_s in rounds[1:]) for name in names}


def _time_s(run: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def _runs(name: str, device: torch.device, dtype: torch.dtype) -> bool:
    try:
        _try(name, device, dtype)
    except DeviceError:
        return False
    return True


def _try(name: str, device: torch.device, dtype: torch.dtype) -> None:
    backend = ATTENTION_BACKENDS[name]
    if not backend.can_run(device, dtype):
        raise DeviceError(
            f"{name} attention needs {backend.needs}", hint=f"choose {EXACT}, which is exact and works here"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch explains in several warnings why it has no kernel
            _workload(name, device, dtype, 1, 8)()
            synchronize(device)
    except Exception as error:  # each compiler and kernel fails in its own way
        reason = first_line(error)
        raise DeviceError(
            f"{device} cannot compute {name} attention: {reason}",
            hint=f"choose {EXACT}, which works everywhere",
        ) from error


def _workload(
    name: str, device: torch.device, dtype: torch.dtype, windows: int, window_px: int
) -> Callable[[], Tensor]:
    # Changes of tensors made in inference mode cannot be detected, so nothing made from them would be cached.
    with torch.inference_mode(mode=False):
        tokens = torch.zeros(windows, _HEADS, window_px**2, _CHANNELS, dtype=dtype, device=device)
        table = torch.zeros(_HEADS, (2 * window_px - 1) ** 2, dtype=dtype, device=device)
    bias = TableBias(table, window_px)
    attend = torch.inference_mode()(ATTENTION_BACKENDS[name].attend)
    return lambda: attend(tokens, tokens, tokens, bias)
