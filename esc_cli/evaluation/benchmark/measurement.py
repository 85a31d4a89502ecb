"""Measure candidates: their time, their error, and the multiply-accumulates of their network.

Each round of timing runs every candidate once, so that noise on the machine affects all of them equally.
"""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.errors import EscError
from esc_cli.evaluation.metrics import psnr
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.attention.windows import use_attention
from esc_cli.networks.padding import run_padded

Run = Callable[[], object]
"""Function that does the work once, and returns when the device has finished it."""


@dataclass(frozen=True)
class Timing:
    """The times of one candidate.

    Attributes:
        rounds_s: Seconds in each round, in the order of the rounds.
    """

    rounds_s: tuple[float, ...]

    @property
    def median_s(self) -> float:
        """Median of the rounds."""
        return median(self.rounds_s)

    @property
    def quartiles_s(self) -> tuple[float, float]:
        """First and third quartile of the rounds."""
        if len(self.rounds_s) == 1:
            return self.rounds_s[0], self.rounds_s[0]
        first, _, third = quantiles(self.rounds_s, n=4, method="inclusive")
        return first, third

    def multiple_of(self, other: "Timing") -> float:
        """Return the median over the rounds of this time divided by the other time in the same round."""
        return median(mine / its for mine, its in zip(self.rounds_s, other.rounds_s, strict=True))


def measure(
    candidates: Sequence[Run],
    *,
    warm_up: int,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    finished_run: Callable[[], None] = lambda: None,
) -> list[Timing | EscError]:
    """Time several ways of doing something, in turns.

    Args:
        candidates: Functions to time.
        warm_up: Number of rounds that are not counted.
        rounds: Number of rounds that are counted, at least one.
        clock: Function that returns the time in seconds.
        finished_run: Function that is called after each run, outside the timing.

    Returns:
        A timing for each candidate, in order. If a candidate fails, its error takes this place: the candidate
        is not run again, and the others continue.
    """
    taken: list[list[float]] = [[] for _ in candidates]
    failures: dict[int, EscError] = {}
    for _ in range(warm_up + rounds):
        for index, candidate in enumerate(candidates):
            if index in failures:
                finished_run()
                continue
            start = clock()
            try:
                candidate()
            except EscError as error:
                failures[index] = error
            taken[index].append(clock() - start)
            finished_run()
    return [
        failures[index] if index in failures else Timing(tuple(times[warm_up:]))
        for index, times in enumerate(taken)
    ]


@dataclass(frozen=True)
class Deviation:
    """The difference between two pictures, before rounding to integers.

    Attributes:
        largest: Largest difference between two values in [0, 1].
        psnr: PSNR over all values of all channels, in dB; infinite if there is no difference.
    """

    largest: float
    psnr: float


def exact_result(checkpoint: Checkpoint, low: Tensor) -> Tensor:
    """Run a network in float64 on the CPU, on the whole picture, padded and cropped as the engine does.

    Args:
        checkpoint: The network.
        low: (1, 3, H, W) in [0, 1].

    Returns:
        (1, 3, scale H, scale W), float64, clamped to [0, 1].
    """
    config = checkpoint.config
    with torch.inference_mode(mode=False), torch.no_grad():
        network = copy.deepcopy(checkpoint.network).double()
        return run_padded(network, low.double(), config.window_size, config.scale).clamp(0, 1)


def deviation(result: Tensor, exact: Tensor) -> Deviation:
    """Compare a result with the exact one, both (1, 3, H, W) in [0, 1]."""
    largest = (result.double() - exact).abs().max().item()
    return Deviation(largest, psnr(result.double() * 255, exact * 255))


_NORM_WEIGHT = 5
"""Multiply-accumulates per element of an affine layer normalization in the tables.

The tool that made the tables calls this a rough count.
"""

_FLOPS_A_MAC = 2


def multiply_accumulates(config: NetworkConfig, height: int, width: int) -> int:
    """Count the multiply-accumulates for one picture, without computing its result.

    The count includes convolutions and matrix products, even those on the padding of the attention windows.
    As in the published tables, it also includes five for each normalized element and one for each pooled
    element.

    Args:
        config: Configuration of the network.
        height: Height of the low-resolution picture, in pixels.
        width: Width of the low-resolution picture, in pixels.

    Source: ``fvcore.nn.flop_count``, which made the tables of the papers. Without norms and pooling, the
    figures of ESC x2 would be 1.2 G too low.
    """
    with torch.device("meta"):
        network = build_network(config).eval().requires_grad_(requires_grad=False)
        low = torch.empty(1, 3, height, width)
    use_attention(network, "naive")  # two plain matrix products; a fused kernel may be counted differently
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=_COUNTED_BY_THE_TABLES) as counter:
        network(low)
    flops: int = counter.get_total_flops()
    return flops // _FLOPS_A_MAC


def _norm_flops(shape: torch.Size, *_: Any, **__: Any) -> int:
    return _FLOPS_A_MAC * _NORM_WEIGHT * math.prod(shape)


def _pooling_flops(shape: torch.Size, *_: Any, **__: Any) -> int:
    return _FLOPS_A_MAC * math.prod(shape)


_COUNTED_BY_THE_TABLES = {
    torch.ops.aten.native_layer_norm: _norm_flops,
    torch.ops.aten.sum: _pooling_flops,
}
