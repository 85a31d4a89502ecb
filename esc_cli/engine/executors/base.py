"""Base classes for running networks.

A runtime says what a library can do and makes executors. An executor runs one network.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.device import DeviceChoice
from esc_cli.engine.tiling.shared_statistics import Statistics
from esc_cli.engine.tiling.tiles import Emit
from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.attention.windows import dense_bias_bytes
from esc_cli.networks.grid import Grid

KEPT_SHAPES = 2
"""Number of shapes for which an executor that compiles keeps its graphs.

The tiles of a picture have one shape, and a batch of pictures may have two (portrait and landscape).
"""

LARGEST_BIAS_BYTES = 512 * 2**20
"""Largest size of all dense attention biases together that a graph may hold.

ESC's biases take 80 MB. Those of ESC-XL (2 GB) and of ESC-RIB are too large.
"""


def not_finite(model: str) -> WeightsError:
    """Return the error for a model whose results are infinite or NaN, even in float32."""
    return WeightsError(
        f"the model {model!r} returns values that are not finite",
        hint="replace its weights, which are damaged",
    )


def bias_obstacle(network: nn.Module) -> str | None:
    """Return the reason against a graph with dense attention biases, as the end of a sentence, or None."""
    bias_bytes = dense_bias_bytes(network)
    if bias_bytes <= LARGEST_BIAS_BYTES:
        return None
    return f"the attention bias would take {bias_bytes // 2**20} MB"


class Executor(ABC):
    """Run one network on one device: pixels in, finite float32 values out.

    Attributes:
        runtime: Runtime that made this executor.
        config: Configuration of the network.
        device: Device that the network runs on.
        dtype: Type of the network's weights and features.
        attention: Backend of the network's window attention.
        overflow_retries: Number of runs so far that overflowed in half precision and were repeated in
            float32.
    """

    runtime: "Runtime"
    config: NetworkConfig
    device: torch.device
    dtype: torch.dtype
    attention: str
    overflow_retries: int = 0

    @property
    def shares_statistics(self) -> bool:
        """Whether ``gather`` returns what the network pools, and ``__call__`` accepts it."""
        return self.config.pools and self.runtime.shares_statistics

    @abstractmethod
    def __call__(
        self,
        picture: Tensor,
        grid: Grid | None = None,
        statistics: Statistics | None = None,
        wraps: Wraps = NOT_WRAPPED,
    ) -> Tensor:
        """Run the network.

        Args:
            picture: (N, 3, H, W) of any pixel type, on any device. It is not modified.
            grid: Pixels to make, for an arbitrary-scale network. Only runtimes with ``does_any_scale`` get
                it.
            statistics: Result of ``gather`` on another picture, to use instead of this picture's own
                statistics. Only executors with ``shares_statistics`` get it.
            wraps: Axes along which the picture wraps. Only runtimes with ``wraps_borders`` get any.

        Returns:
            (N, 3, scale H, scale W), or the size of ``grid``, float32, on the network's device. The values
            are finite and not clamped. The tensor belongs to the caller.

        Raises:
            WeightsError: The network returns infinite values or NaN even in float32.
            DeviceError: The device failed. On the CPU the reason may be a lack of memory.
            torch.OutOfMemoryError: The device does not have enough memory.
        """

    def gather(self, picture: Tensor) -> Statistics:
        """Run the network and return its pooled statistics.

        Only executors with ``shares_statistics`` do this.

        Args:
            picture: See ``__call__``.

        Returns:
            The statistics, on the network's device; empty if the network pools nothing.

        Raises:
            WeightsError: See ``__call__``.
            DeviceError: See ``__call__``.
            torch.OutOfMemoryError: See ``__call__``.
        """
        raise NotImplementedError

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
        """Run the network strip by strip, with the same result as for the whole picture.

        Only executors of runtimes with ``streams`` do this.

        Args:
            picture: See ``__call__``.
            most_rows: Largest height of a strip.
            emit: Receives the result's blocks from top to bottom, float32, on the network's device. If values
                overflow in half precision, it receives all blocks once more.
            tick: Called often, each time with the share of the work that was done since the last call.
            begin: Called when the work begins, and a second time if values overflow.
            grid: See ``__call__``.
            wraps: See ``__call__``.

        Returns:
            Largest height of a strip at the end: less than ``most_rows`` if memory ran out.

        Raises:
            WeightsError: See ``__call__``.
            DeviceError: See ``__call__``.
            torch.OutOfMemoryError: The feature maps or the lowest strips do not fit in memory.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Demands:
    """The demands of a job that not every runtime can fulfill.

    Attributes:
        strips: Whether the user asks for exact strips.
        attention: Whether the user asks for an attention backend.
        any_scale: Whether the network is an arbitrary-scale network.
        wraps: Whether the user asks for borders that wrap.
    """

    strips: bool = False
    attention: bool = False
    any_scale: bool = False
    wraps: bool = False


class Runtime(ABC):
    """A library that runs networks.

    Attributes:
        name: Name by which users choose the runtime.
        title: Name of the runtime in sentences.
        fixed_bytes: Memory that the runtime takes for any picture.
        packages: Packages besides torch on whose versions the runtime's speed depends.
        streams: Whether its executors run a picture in exact strips.
        shares_statistics: Whether its executors accept statistics that the network pooled elsewhere.
        does_any_scale: Whether its executors run arbitrary-scale networks.
        has_attention_backends: Whether the backend of the window attention can be chosen.
        has_own_devices: Whether the runtime names and chooses its devices itself.
        wraps_borders: Whether its executors run pictures whose borders wrap.
    """

    name: str
    title: str
    fixed_bytes: int
    packages: tuple[str, ...] = ()
    streams: bool = False
    shares_statistics: bool = False
    does_any_scale: bool = False
    has_attention_backends: bool = False
    has_own_devices: bool = False
    wraps_borders: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether the runtime can be imported."""
        return True

    def runs_on(self, device: torch.device) -> bool:
        """Return whether the runtime supports a device."""
        return True

    def placed(self, device: str) -> "tuple[Runtime, DeviceChoice]":
        """Return the runtime on one of its own devices, and that device.

        Only runtimes with ``has_own_devices`` do this.

        Args:
            device: ``auto``, or the name of a device.

        Raises:
            DeviceError: The runtime has no such device here.
        """
        raise NotImplementedError

    @abstractmethod
    def obstacle(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        """Return the reason against running a network here, as the end of a sentence, or None.

        Args:
            network: The network as it was loaded.
            device: Device to run on.
            dtype: Precision to run in.
        """

    @abstractmethod
    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        """Estimate how many seconds the runtime saves compared with plain torch, after its own start.

        Args:
            network: Network to run.
            dtype: Precision to run in. If the runtime does not support it, the answer does not matter.
            job_px: Number of low-resolution pixels of all pictures of one size.
        """

    @abstractmethod
    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        """Make an executor for a network.

        Args:
            checkpoint: The network.
            device: Device to run on.
            dtype: Precision to run in.
            attention: Backend of the window attention, if the runtime has several.
        """

    def missing(self, demands: Demands) -> str | None:
        """Return a demand that the runtime cannot fulfill, as the end of a sentence, or None."""
        if demands.strips and not self.streams:
            return "run a picture in exact strips"
        if demands.attention and not self.has_attention_backends:
            return "use an attention backend other than its own"
        if demands.any_scale and not self.does_any_scale:
            return "run an arbitrary-scale model"
        if demands.wraps and not self.wraps_borders:
            return "let borders wrap"
        return None
