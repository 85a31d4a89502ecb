"""Measure the speed, memory and error of every way of running a network, compared with the plain one."""

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from esc_cli.engine.device import choose_device
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.candidates import NetworkSource, Settings
from esc_cli.evaluation.benchmark.measurement import (
    Deviation,
    Run,
    Timing,
    deviation,
    exact_result,
    measure,
    multiply_accumulates,
)
from esc_cli.evaluation.benchmark.peak_memory import Trial, cuda_peak_bytes, host_peak_bytes, idle_bytes
from esc_cli.evaluation.benchmark.report import BenchmarkReport, Measured, Row, Workload
from esc_cli.evaluation.benchmark.request import (
    BenchmarkRequest,
    BenchmarkTask,
    requested_tasks,
    requested_ways,
)

MATMUL_SIDE = 2048
"""Side of the square matrices whose product is timed, too. Times are also given in multiples of its time."""

LARGEST_COMPARED_PX = 2**18
"""Largest low-resolution picture, in pixels, whose result is also computed in float64."""

_ROUNDS_ON_CPU = (1, 5)
_ROUNDS_ELSEWHERE = (20, 50)
"""Number of warm-up rounds, and number of measured rounds."""


@dataclass(frozen=True)
class _Candidate:
    """A way of running a task that has run once without an error."""

    upscaler: Upscaler
    tiling: tuple[str, ...]
    peak_bytes: int | None
    deviation: Deviation | None


def benchmark(
    request: BenchmarkRequest, progress: Callable[[int, int], None] | None = None
) -> BenchmarkReport:
    """Measure every requested way of running every network on every size.

    All networks are loaded first and then run in turns. If a way cannot run on this machine, its row has the
    reason.

    Args:
        request: Networks, sizes and ways to measure.
        progress: Function that is called with the number of steps done and the number of all steps.

    Raises:
        WeightsError: A model does not exist.
        UsageError: A variant, size or way of running does not exist.
        InputError: The picture cannot be read.
        DeviceError: The device does not exist.
    """
    device = choose_device(request.device).device
    ways, tasks = requested_ways(request, device), requested_tasks(request)
    warm_up, rounds = _ROUNDS_ON_CPU if device.type == "cpu" else _ROUNDS_ELSEWHERE
    rounds = request.rounds or rounds
    count = len(tasks) * len(ways)
    meter = _Meter(progress, count + (count + 1) * (warm_up + rounds))
    prepare = _Preparation(device, meter.add)
    prepared = [(task, prepare(task, ways)) for task in tasks]
    runs = [_matmul(device), *(_run(task, one) for task, found in prepared for one in found)]
    matmul, *timings = measure(runs, warm_up=warm_up, rounds=rounds, finished_run=meter.add)
    if isinstance(matmul, EscError):
        raise matmul
    in_order = iter(timings)
    workloads = [
        _workload(task, _rows(ways, found, list(islice(in_order, len(ways))), matmul))
        for task, found in prepared
    ]
    return BenchmarkReport(
        device=str(device),
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else "",
        threads=torch.get_num_threads(),
        torch_version=torch.__version__,
        warm_up=warm_up,
        rounds=rounds,
        matmul=matmul,
        matmul_side=MATMUL_SIDE,
        idle_bytes=idle_bytes() if device.type == "cpu" else None,
        workloads=tuple(workloads),
    )


class _Preparation:
    """Loads candidates and takes the measurements that are not made in turns."""

    def __init__(self, device: torch.device, finished: Callable[[], None]) -> None:
        self._device = device
        self._finished = finished
        self._upscalers: dict[tuple[NetworkSource, Settings], Upscaler] = {}

    def __call__(self, task: BenchmarkTask, ways: Sequence[Settings]) -> list[_Candidate | EscError]:
        """Run every way once. A way that fails is represented by its error."""
        small = task.low[0, 0].numel() <= LARGEST_COMPARED_PX
        exact = exact_result(task.checkpoint, task.low) if small else None
        candidates: list[_Candidate | EscError] = []
        for way in ways:
            try:
                candidates.append(self._candidate(task, way, exact))
            except EscError as error:
                candidates.append(error)
            self._finished()
        return candidates

    def _candidate(self, task: BenchmarkTask, way: Settings, exact: Tensor | None) -> _Candidate:
        # This comes first because it runs in a separate process on the CPU: if memory runs out, only that
        # process ends.
        peak_bytes = self._peak_bytes(task, way)
        upscaler = self._upscaler(task, way)
        result = upscaler.run(task.low)
        difference = None if exact is None else deviation(result.high, exact)
        return _Candidate(upscaler, result.ways, peak_bytes, difference)

    def _upscaler(self, task: BenchmarkTask, way: Settings) -> Upscaler:
        """Return the upscaler for a way. Pictures of all sizes share it."""
        key = (task.source, way)
        if key not in self._upscalers:
            self._upscalers[key] = way.upscaler(task.checkpoint, str(self._device))
        return self._upscalers[key]

    def _peak_bytes(self, task: BenchmarkTask, way: Settings) -> int | None:
        if self._device.type == "cpu":
            return host_peak_bytes(Trial(task.source, way, *task.size, torch.get_num_threads()))
        if self._device.type == "cuda":
            gc.collect()  # a network that was measured before may still be in memory
            return cuda_peak_bytes(
                self._device, lambda: way.upscaler(task.checkpoint, str(self._device))(task.low)
            )
        return None


class _Meter:
    """Counts finished steps and reports them to a callback."""

    def __init__(self, callback: Callable[[int, int], None] | None, total: int) -> None:
        self._callback = callback
        self._total = total
        self._done = 0

    def add(self) -> None:
        self._done += 1
        if self._callback is not None:
            self._callback(self._done, self._total)


def _run(task: BenchmarkTask, candidate: _Candidate | EscError) -> Run:
    def run() -> None:
        if isinstance(candidate, EscError):
            raise candidate
        candidate.upscaler(task.low)

    return run


def _matmul(device: torch.device) -> Run:
    left, right = (torch.rand(MATMUL_SIDE, MATMUL_SIDE, device=device) for _ in range(2))
    product = torch.empty_like(left)

    def run() -> None:
        torch.mm(left, right, out=product)
        product[0, 0].item()  # waits for the device

    return run


def _workload(task: BenchmarkTask, rows: Sequence[Row]) -> Workload:
    height, width = task.size
    config = task.checkpoint.config
    return Workload(
        model=task.checkpoint.name,
        scale=config.scale,
        height=height,
        width=width,
        macs=None if config.opaque else multiply_accumulates(config, height, width),
        parameters=sum(weights.numel() for weights in task.checkpoint.network.parameters()),
        rows=tuple(rows),
    )


def _rows(
    ways: Sequence[Settings],
    candidates: Sequence[_Candidate | EscError],
    timings: Sequence[Timing | EscError],
    matmul: Timing,
) -> list[Row]:
    """Combine the results of one task into rows. The first timing is that of the reference."""
    return [
        Row(way, _outcome(way, candidate, timing, timings[0], matmul))
        for way, candidate, timing in zip(ways, candidates, timings, strict=True)
    ]


def _outcome(
    way: Settings,
    candidate: _Candidate | EscError,
    timing: Timing | EscError,
    reference: Timing | EscError,
    matmul: Timing,
) -> Measured | EscError:
    if isinstance(candidate, EscError):
        return candidate
    if isinstance(timing, EscError):
        return timing
    return Measured(
        chosen=way.chosen(candidate.upscaler),
        tiling=candidate.tiling,
        timing=timing,
        speedup=None if isinstance(reference, EscError) else reference.multiple_of(timing),
        matmuls=timing.multiple_of(matmul),
        peak_bytes=candidate.peak_bytes,
        deviation=candidate.deviation,
    )
