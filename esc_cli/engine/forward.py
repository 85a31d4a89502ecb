"""One run of a network on its device: pixels in, finite float32 numbers out."""

import copy
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.backends import cudnn

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.pixels import is_finite, to_unit
from esc_cli.errors import DeviceError, WeightsError


class Forward:
    """A network on a device, in a precision, with float32 to fall back on.

    Attributes:
        config: Of the network.
        device: Where it runs.
        dtype: Of its weights and features.
        redone: Runs whose result overflowed in half precision and that were done again in float32.
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> None:
        self.config = checkpoint.config
        self.device = device
        self.dtype = dtype
        self.redone = 0
        self._checkpoint = checkpoint
        self._network = self._on_device(dtype)

    def __call__(self, picture: Tensor) -> Tensor:
        """Run the network.

        Args:
            picture: (N, 3, H, W) of any pixel type, on any device; not written to.

        Returns:
            (N, 3, scale H, scale W), float32, on the network's device, not clamped, finite; the caller's own.

        Raises:
            WeightsError: The network gives infinite values or NaN even in float32.
            DeviceError: The device failed; on the CPU that may be for want of memory.
            torch.OutOfMemoryError: The memory of the device does not suffice.
        """
        low = to_unit(picture.to(self.device))
        high = self._run(self._network, low.to(self.dtype)).float()
        if not is_finite(high) and self.dtype != torch.float32:
            self.redone += 1
            high = self._run(self._full_precision, low)
        if not is_finite(high):
            raise WeightsError(
                f"the model {self._checkpoint.name!r} gives values that are not finite",
                hint="its weights are damaged",
            )
        return high

    def _run(self, network: nn.Module, low: Tensor) -> Tensor:
        try:
            # cuDNN computes float32 convolutions in TF32, 10 bits, unless it is told not to.
            with cudnn.flags(enabled=cudnn.enabled, benchmark=cudnn.benchmark, allow_tf32=False):
                return network(low)  # type: ignore[no-any-return]
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise DeviceError(f"{self.device} failed: {reason}", hint="try another device") from error

    @cached_property
    def _full_precision(self) -> nn.Module:
        return self._on_device(torch.float32)

    def _on_device(self, dtype: torch.dtype) -> nn.Module:
        """Copy the network: ``Module.to`` works in place, and the checkpoint is the caller's."""
        # Weights made in inference mode have no version counter, by which the attention knows a stale bias.
        with torch.inference_mode(mode=False), torch.no_grad():
            return copy.deepcopy(self._checkpoint.network).to(self.device, dtype).eval()
