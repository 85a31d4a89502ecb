"""One run of a network on its device: pixels in, finite float32 numbers out."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.allocator import keep_blocks
from esc_cli.engine.blending import Emit
from esc_cli.engine.cuda_graphs import GraphedNetwork
from esc_cli.engine.inference import for_inference
from esc_cli.engine.pixels import is_finite, to_unit
from esc_cli.engine.shared_statistics import Gathering, Given, Statistics
from esc_cli.engine.streaming import StepCount, Strips
from esc_cli.engine.tf32 import without_tf32
from esc_cli.engine.threads import limit_threads
from esc_cli.engine.tiles import Span
from esc_cli.errors import DeviceError, WeightsError
from esc_cli.networks.architectures.lte import Grid
from esc_cli.networks.runner import FeatureMap

T = TypeVar("T")


class Forward:
    """A network on a device, in a precision, with float32 to fall back on.

    Attributes:
        config: Of the network.
        device: Where it runs.
        dtype: Of its weights and features.
        attention: The backend of its window attention.
        runtime: What runs it.
        redone: Runs whose result overflowed in half precision and that were done again in float32.
    """

    runtime = "torch"

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str = "sdpa"
    ) -> None:
        self.config = checkpoint.config
        self.device = device
        self.dtype = dtype
        self.attention = attention
        self.redone = 0
        self._checkpoint = checkpoint
        if device.type == "cpu":
            limit_threads()
        self._network = self._on_device(dtype)
        self._graphed = GraphedNetwork(self._network) if device.type == "cuda" else None

    def __call__(
        self, picture: Tensor, grid: Grid | None = None, statistics: Statistics | None = None
    ) -> Tensor:
        """Run the network.

        Args:
            picture: (N, 3, H, W) of any pixel type, on any device; not written to.
            grid: For a network for any scale, what to make.
            statistics: What ``gather`` found on a picture beside, to be taken instead of this one's own.

        Returns:
            (N, 3, scale H, scale W), or what ``grid`` says, float32, on the network's device, not clamped,
            finite; the caller's own.

        Raises:
            WeightsError: The network gives infinite values or NaN even in float32.
            DeviceError: The device failed; on the CPU that may be for want of memory.
            torch.OutOfMemoryError: The memory of the device does not suffice.
        """
        low = to_unit(picture.to(self.device))

        def attempt(network: nn.Module) -> Tensor | None:
            with without_tf32(), self._translated_errors():
                high = self._call(network, low, grid, statistics).float()
            return high if is_finite(high) else None

        return self._finite(attempt)

    def _call(
        self, network: nn.Module, low: Tensor, grid: Grid | None, statistics: Statistics | None
    ) -> Tensor:
        if grid is not None:
            return network(low, grid=grid)  # type: ignore[no-any-return]
        if statistics is not None:
            return network(low, Given(statistics))  # type: ignore[no-any-return]
        call = self._graphed if self._graphed and network is self._network else network
        return call(low)

    def gather(self, picture: Tensor) -> Statistics:
        """Run the network for what it pools.

        Args:
            picture: As above.

        Returns:
            Those statistics, on the network's device; none of a network that pools nothing.

        Raises:
            WeightsError: As above.
            DeviceError: As above.
            torch.OutOfMemoryError: As above.
        """
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
    ) -> int:
        """Run the network strip by strip, with the result of running it on the whole picture.

        Args:
            picture: As above.
            most_rows: Of a strip.
            emit: Receives the result's blocks from top to bottom, float32, on the network's device; all of
                them once more where they overflowed in half precision.
            tick: Is called with the share of the work that was done, often.
            begin: Is called when the work begins; a second time where values overflowed.
            grid: As above.

        Returns:
            The rows that strips had in the end: fewer than ``most_rows`` if memory ran out.

        Raises:
            WeightsError: As above.
            DeviceError: As above.
            torch.OutOfMemoryError: The feature maps or the lowest strips do not fit.
        """
        if self._graphed:
            self._graphed.release()
        if self.device.type == "cpu":
            keep_blocks()
        low = to_unit(picture.to(self.device))
        share = 1 / self._steps
        strips = Strips(
            self.config.window_size, most_rows, lambda part: tick(part * share), self._translated_errors
        )

        def attempt(network: nn.Module) -> bool | None:
            begin()
            try:
                with without_tf32():
                    result: FeatureMap = network(low, strips) if grid is None else network(low, strips, grid)
                    # The maps of a network that unshuffles the picture are smaller than that.
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
        """Run in the network's precision, and if that overflows in float32."""
        result = attempt(self._network)
        if result is None and self.dtype != torch.float32:
            self.redone += 1
            result = attempt(self._full_precision)
        if result is None:
            raise WeightsError(
                f"the model {self._checkpoint.name!r} gives values that are not finite",
                hint="its weights are damaged",
            )
        return result

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise DeviceError(f"{self.device} failed: {reason}", hint="try another device") from error

    @property
    def pools(self) -> bool:
        """Whether the network pools over the whole picture."""
        return self.config.pools

    @cached_property
    def _steps(self) -> int:
        """Count the maps that are computed for a picture."""
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
        return for_inference(self._checkpoint.network, self.device, dtype, self.attention)


class _OverflowError(ArithmeticError):
    """A strip holds values that are not finite."""


def _checked(block: Tensor) -> Tensor:
    if not is_finite(block):
        raise _OverflowError
    return block
