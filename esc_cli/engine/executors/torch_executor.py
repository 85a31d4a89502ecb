"""Run networks with torch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.executors.base import Executor, Runtime, not_finite
from esc_cli.engine.executors.cuda_graphs import GraphedNetwork
from esc_cli.engine.executors.inference import for_inference
from esc_cli.engine.memory.allocator import keep_blocks
from esc_cli.engine.pixels import is_finite, to_unit
from esc_cli.engine.tf32 import without_tf32
from esc_cli.engine.threads import limit_threads
from esc_cli.engine.tiling.shared_statistics import Gathering, Given, Statistics
from esc_cli.engine.tiling.streaming import StepCount, Strips
from esc_cli.engine.tiling.tiles import Emit, Span
from esc_cli.engine.wrapping import Wrapped
from esc_cli.errors import DeviceError, first_line
from esc_cli.networks.grid import Grid
from esc_cli.networks.runner import WHOLE, FeatureMap

T = TypeVar("T")


class TorchExecutor(Executor):
    """Run a network with torch in a precision, with float32 as fallback. CUDA graphs launch its kernels."""

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str = "sdpa"
    ) -> None:
        self.runtime = RUNTIME
        self.config = checkpoint.config
        self.device = device
        self.dtype = dtype
        self.attention = attention
        self._checkpoint = checkpoint
        if device.type == "cpu":
            limit_threads()
        self._network = self._on_device(dtype)
        can_record = device.type == "cuda" and not self.config.opaque  # others may wait for the device
        self._graphed = GraphedNetwork(self._network) if can_record else None

    def __call__(
        self,
        picture: Tensor,
        grid: Grid | None = None,
        statistics: Statistics | None = None,
        wraps: Wraps = NOT_WRAPPED,
    ) -> Tensor:
        """Run the network."""
        low = to_unit(picture.to(self.device))

        def attempt(network: nn.Module) -> Tensor | None:
            with without_tf32(), self._translated_errors():
                high = self._call(network, low, grid, statistics, wraps).float()
            return high if is_finite(high) else None

        return self._finite(attempt)

    def _call(
        self,
        network: nn.Module,
        low: Tensor,
        grid: Grid | None,
        statistics: Statistics | None,
        wraps: Wraps,
    ) -> Tensor:
        if wraps:
            return network(low, Wrapped(wraps))  # type: ignore[no-any-return]
        run = WHOLE if statistics is None else Given(statistics)
        if grid is not None:
            return network(low, run, grid)  # type: ignore[no-any-return]
        if statistics is not None:
            return network(low, run)  # type: ignore[no-any-return]
        call = self._graphed if self._graphed and network is self._network else network
        return call(low)

    def gather(self, picture: Tensor) -> Statistics:
        """Run the network and return its pooled statistics."""
        low = to_unit(picture.to(self.device))

        def attempt(network: nn.Module) -> Statistics | None:
            run = Gathering()
            with without_tf32(), self._translated_errors():
                high = network(low, run)
            return tuple(run.gathered) if is_finite(high) else None

        return self._finite(attempt)

    def stream(
        self,
        picture: Tensor,
        most_rows: int,
        emit: Emit,
        tick: Callable[[float], None] = lambda share: None,
        begin: Callable[[], None] = lambda: None,
        grid: Grid | None = None,
        wraps: Wraps = NOT_WRAPPED,
    ) -> int:
        """Run the network strip by strip."""
        if self._graphed:
            self._graphed.release()
        if self.device.type == "cpu":
            keep_blocks()
        low = to_unit(picture.to(self.device))
        share = 1 / self._steps
        strips = Strips(
            self.config.window_size,
            most_rows,
            lambda part: tick(part * share),
            self._translated_errors,
            wraps,
        )

        def attempt(network: nn.Module) -> bool | None:
            begin()
            try:
                with without_tf32():
                    result: FeatureMap = network(low, strips) if grid is None else network(low, strips, grid)
                    # A network that unshuffles the picture has feature maps smaller than the picture.
                    ratio = low.shape[2] // result.shape[2]

                    def hand_on(rows: Span, columns: Span, block: Tensor) -> None:
                        emit(rows.times(ratio), columns.times(ratio), _checked(block.float()))

                    strips.hand_out(result, hand_on)
            except _OverflowError:
                return None
            return True

        self._finite(attempt)
        return strips.most_rows

    def _finite(self, attempt: Callable[[nn.Module], T | None]) -> T:
        """Run in the network's precision, and again in float32 if that overflows."""
        result = attempt(self._network)
        if result is None and self.dtype != torch.float32:
            self.overflow_retries += 1
            result = attempt(self._full_precision)
        if result is None:
            raise not_finite(self._checkpoint.name)
        return result

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = first_line(error)
            raise DeviceError(f"{self.device} failed: {reason}", hint="try another device") from error

    @cached_property
    def _steps(self) -> int:
        """Number of maps that are computed for a picture."""
        count = StepCount()
        side_px = self.config.window_size
        low = torch.zeros(1, 3, side_px, side_px, device=self.device)
        with without_tf32(), self._translated_errors():
            self._network(low, count)
        return count.steps

    @cached_property
    def _full_precision(self) -> nn.Module:
        return self._on_device(torch.float32)

    def _on_device(self, dtype: torch.dtype) -> nn.Module:
        attention = "naive" if self.config.opaque else self.attention  # which leaves a network as it is
        return for_inference(self._checkpoint.network, self.device, dtype, attention)


class _OverflowError(ArithmeticError):
    """A strip holds values that are not finite."""


def _checked(block: Tensor) -> Tensor:
    if not is_finite(block):
        raise _OverflowError
    return block


class TorchRuntime(Runtime):
    """Plain torch, which runs every network on every device."""

    name = "torch"
    title = "torch"
    fixed_bytes = 256 * 2**20  # code, kernels generated at run time, and their scratch space
    streams = True
    shares_statistics = True
    does_any_scale = True
    has_attention_backends = True
    wraps_borders = True

    def obstacle(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
        """Return None: torch can run every network."""

    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        """Return zero: other runtimes are measured against torch."""
        return 0.0

    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        """Make a ``TorchExecutor``."""
        return TorchExecutor(checkpoint, device, dtype, attention)


RUNTIME = TorchRuntime()
