"""Choose the device and the precision, with reasons."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch.nn import functional as F

from esc_cli.errors import DeviceError, UsageError, first_line

Precision = Literal["auto", "float32", "bfloat16", "float16"]

CPU_BFLOAT16 = (
    "1.2 times as fast as float32 where it was measured, and its error (65 dB) is below that of rounding to "
    "8 bits (59 dB); results with more than 8 bits use float32"
)
"""Measured with ESC x4 on an EPYC with AVX-512, 128x128 pixels, two cores.

The results are 65.0 dB from those in float32 on Set5 and 64.8 dB on Set14, clamped but not rounded. Rounding
to 8 bits alone gives 58.9 dB. With earlier weights, which were trained for a shorter time, bfloat16 gave 67.8
and 67.3 dB.
"""

TENSOR_CORES = (7, 0)
"""Compute capability of the first GPUs with tensor cores, which multiply float16 matrices."""

CUDA_FLOAT16 = (
    "this GPU has tensor cores, and the error (75 dB) is below that of rounding to 8 bits (59 dB); results "
    "with more than 8 bits use float32"
)
"""The error was measured on a CPU that rounded every result to float16.

All models that were shipped at that time ran on three pictures of Set5. bfloat16 was 18 dB worse. The speed
is not measured yet.
"""


@dataclass(frozen=True)
class DeviceChoice:
    """A device that was tried and works.

    Attributes:
        device: The device, with its index if it has one. If a runtime has devices of its own, it is the CPU,
            where the pictures are.
        reason: Reason for the choice, as the end of a sentence: "the first cuda device", "no accelerator:
            ...".
        own_name: Name of a runtime's own device, or None.
    """

    device: torch.device
    reason: str
    own_name: str | None = None

    @property
    def name(self) -> str:
        """Name of the device for users."""
        return self.own_name or str(self.device)


@dataclass(frozen=True)
class PrecisionChoice:
    """The type of the network's weights and features.

    Attributes:
        dtype: float32, bfloat16 or float16.
        reason: Reason for the choice, as the end of a sentence.
    """

    dtype: torch.dtype
    reason: str


def available_devices() -> tuple[str, ...]:
    """Return the names of the devices that this torch build and this machine have, the CPU first."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return ("cpu",)
    return ("cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())))


def choose_device(request: str = "auto") -> DeviceChoice:
    """Choose a device and try it once.

    Args:
        request: ``auto``, or a device as torch names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...

    Returns:
        The requested device. ``auto`` is the machine's accelerator if that can compute, else the CPU, and
        never fails.

    Raises:
        DeviceError: The named device does not exist here, or cannot compute.
    """
    if request == "auto":
        return _automatic_device()
    device = _parsed(request)
    problem = _failure(device)
    if problem is not None:
        raise DeviceError(f"the device {request!r} cannot compute: {problem}", hint=_devices_hint())
    return DeviceChoice(device, "asked for")


def choose_precision(request: Precision, device: torch.device) -> PrecisionChoice:
    """Choose the precision of the network and try it once.

    Args:
        request: ``auto``, or the name of a type.
        device: Device that the network will run on.

    Raises:
        UsageError: The precision does not exist.
        DeviceError: The device cannot compute in this precision.
    """
    if request not in get_args(Precision):
        raise UsageError(
            f"there is no precision {request!r}", hint=f"choose one of {', '.join(get_args(Precision))}"
        )
    if request == "auto":
        return _automatic_precision(device)
    dtype: torch.dtype = getattr(torch, request)
    problem = _failure(device, dtype)
    if problem is not None:
        raise DeviceError(
            f"{device} cannot compute in {request}: {problem}", hint="choose float32, which always works"
        )
    return PrecisionChoice(dtype, "asked for")


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all its work."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _automatic_precision(device: torch.device) -> PrecisionChoice:
    if _has_tensor_cores(device):
        return PrecisionChoice(torch.float16, CUDA_FLOAT16)
    if device.type != "cpu":
        return PrecisionChoice(torch.float32, "half precision has not been measured on this device yet")
    if not has_fast_bfloat16(torch.cpu.get_capabilities()):
        return PrecisionChoice(torch.float32, "this processor has no instructions for bfloat16")
    return PrecisionChoice(torch.bfloat16, CPU_BFLOAT16)


def _has_tensor_cores(device: torch.device) -> bool:
    """Return whether a device is a GPU of NVIDIA with tensor cores.

    AMD's GPUs are ``cuda`` devices, too, and their capability counts other generations.
    """
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= TENSOR_CORES


def has_fast_bfloat16(capabilities: Mapping[str, object]) -> bool:
    """Return whether a processor multiplies bfloat16 faster than float32, given its capabilities in torch.

    Without these instructions, bfloat16 is emulated and slower than float32. ARM's instructions have not been
    measured.
    """
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def has_amx(capabilities: Mapping[str, object]) -> bool:
    """Return whether a processor has instructions for small matrices of bfloat16, given its capabilities."""
    return bool(capabilities.get("amx_bf16"))


def _automatic_device() -> DeviceChoice:
    cpu = torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return DeviceChoice(cpu, "no accelerator: this torch build supports none")
    if not torch.accelerator.is_available():
        return DeviceChoice(cpu, f"no {accelerator.type} device: none is visible, or its driver is missing")
    first = torch.device(accelerator.type, 0)
    problem = _failure(first)
    if problem is not None:
        return DeviceChoice(cpu, f"the {accelerator.type} device cannot compute: {problem}")
    return DeviceChoice(first, f"the first {accelerator.type} device")


def _parsed(request: str) -> torch.device:
    try:
        device = torch.device(request)
    except RuntimeError as error:
        raise DeviceError(f"there is no device called {request!r}", hint=_devices_hint()) from error
    index = device.index or 0
    name = "cpu" if (device.type, index) == ("cpu", 0) else f"{device.type}:{index}"
    if name not in available_devices():
        raise DeviceError(f"there is no device {request!r} here", hint=_devices_hint())
    return torch.device(name)


def _devices_hint() -> str:
    return f"choose one of the devices here: {', '.join(available_devices())}"


def _failure(device: torch.device, dtype: torch.dtype = torch.float32) -> str | None:
    """Run a small convolution. Return the error's text, or None.

    A listed device may still be unable to compute. A GPU may be too old for this torch build or held by
    another process, and a CPU may lack kernels for a type.
    """
    try:
        picture = torch.ones(1, 3, 8, 8, device=device, dtype=dtype)
        F.conv2d(picture, picture.new_ones(3, 3, 3, 3)).sum().item()
    except RuntimeError as error:
        return first_line(error)
    return None
