"""What runs a network. A runtime says what it can do, and makes executors; each of them runs one network."""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.tiling.blending import Emit
from esc_cli.engine.tiling.shared_statistics import Statistics
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.lte import Grid

KEPT_SHAPES = 2
"""Shapes for which an executor that compiles keeps its graphs. The tiles of a picture have one shape, and a
batch of pictures may have two (portrait and landscape)."""


class Executor(ABC):
    """Runs one network on one device: pixels in, finite float32 numbers out.

    Attributes:
        runtime: What made it.
        config: Of the network.
        device: Where the network runs.
        dtype: Of its weights and features.
        attention: The backend of its window attention.
        overflow_retries: Runs whose result overflowed in half precision and that were done again in float32,
            since the beginning.
    """

    runtime: "Runtime"
    config: NetworkConfig
    device: torch.device
    dtype: torch.dtype
    attention: str
    overflow_retries: int = 0

    @abstractmethod
    def __call__(
        self, picture: Tensor, grid: Grid | None = None, statistics: Statistics | None = None
    ) -> Tensor:
        """Run the network.

        Args:
            picture: (N, 3, H, W) of any pixel type, on any device; not written to.
            grid: For a network for any scale, what to make. Given only to runtimes that do any scale.
            statistics: What ``gather`` found on another picture, to be taken instead of this one's own. Given
                only to runtimes that share statistics.

        Returns:
            (N, 3, scale H, scale W), or what ``grid`` says, float32, on the network's device, not clamped,
            finite; the caller's own.

        Raises:
            WeightsError: The network gives infinite values or NaN even in float32.
            DeviceError: The device failed; on the CPU that may be for want of memory.
            torch.OutOfMemoryError: The memory of the device does not suffice.
        """

    def gather(self, picture: Tensor) -> Statistics:
        """Run the network for what it pools. Only runtimes that share statistics do this.

        Args:
            picture: As above.

        Returns:
            The statistics, on the network's device; none of a network that pools nothing.

        Raises:
            WeightsError: As above.
            DeviceError: As above.
            torch.OutOfMemoryError: As above.
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
    ) -> int:
        """Run the network strip by strip, with the result of the whole picture. Only some runtimes do this.

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
        raise NotImplementedError


class Runtime(ABC):
    """A library that runs networks.

    Attributes:
        name: By which users choose it.
        title: By which sentences name it.
        fixed_bytes: Memory that it takes whatever the picture.
        streams: Whether its executors run a picture in exact strips.
        shares_statistics: Whether they can be given what the network pooled elsewhere.
        does_any_scale: Whether they run networks for any scale.
        has_attention_backends: Whether the backend of the window attention can be chosen.
    """

    name: str
    title: str
    fixed_bytes: int
    streams: bool = False
    shares_statistics: bool = False
    does_any_scale: bool = False
    has_attention_backends: bool = False

    @property
    def is_installed(self) -> bool:
        """Whether it can be imported."""
        return True

    def runs_on(self, device: torch.device) -> bool:
        """Whether it is made for a device."""
        return True

    @abstractmethod
    def obstacle(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        """Say why it cannot sensibly run a network, as the end of a sentence; None if it can.

        Args:
            network: As it was loaded.
            device: Where it would run.
            dtype: In which precision.
        """

    @abstractmethod
    def saved_s(self, dtype: torch.dtype, job_px: int) -> float:
        """Estimate the seconds that it saves against plain torch, its own start taken off.

        Args:
            dtype: Precision.
            job_px: Low-resolution pixels of all pictures of one size.
        """

    @abstractmethod
    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        """Make what runs a network.

        Args:
            checkpoint: The network.
            device: Where to run it.
            dtype: In which precision.
            attention: The backend of its window attention, where the runtime has several.
        """

    def missing(self, *, strips: bool, attention: bool, any_scale: bool) -> str | None:
        """Say what it cannot do of what a user asks for, as the end of a sentence; None if it can do all.

        Args:
            strips: Whether exact strips are asked for.
            attention: Whether a backend of the attention is asked for.
            any_scale: Whether the network is one for any scale.
        """
        if strips and not self.streams:
            return "run a picture in exact strips"
        if attention and not self.has_attention_backends:
            return "change the attention that is part of its graphs"
        if any_scale and not self.does_any_scale:
            return "run a model for any scale"
        return None
