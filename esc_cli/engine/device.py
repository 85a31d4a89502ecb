"""Where to compute and in which precision, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch.nn import functional as F

from esc_cli.errors import DeviceError, UsageError

Precision = Literal["auto", "float32", "bfloat16", "float16"]

CPU_BFLOAT16 = "1.2 times as fast as float32 here, and 67 dB from it (8 bits: 59 dB); more bits in float32"
"""Measured with ESC x4 on an EPYC with AVX-512: 128x128 pixels, two cores; Set5 67.8 dB, Set14 67.3 dB,
clamped, not rounded. Rounding to 8 bits is 58.9 dB by itself."""

TENSOR_CORES = (7, 0)
"""The compute capability of the first GPUs with units for products of float16."""

CUDA_FLOAT16 = "this GPU has units for it, and it is 75 dB from float32 (8 bits: 59 dB); more bits in float32"
"""The error was measured on a CPU that rounded every result to float16, with all six shipped models on three
pictures of Set5; the speed is not measured yet. bfloat16 was 18 dB worse."""


@dataclass(frozen=True)
class DeviceChoice:
    """A device that was seen to compute.

    Attributes:
        device: With its index where it has one.
        reason: Why this one, as the end of a sentence: "the first cuda device", "no accelerator: ...".
    """

    device: torch.device
    reason: str


@dataclass(frozen=True)
class PrecisionChoice:
    """The type of the network's weights and features.

    Attributes:
        dtype: float32, bfloat16 or float16.
        reason: Why this one, as the end of a sentence.
    """

    dtype: torch.dtype
    reason: str


def available_devices() -> tuple[str, ...]:
    """Name the devices that this torch build and this machine have, the CPU first."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return ("cpu",)
    return ("cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count())))


def choose_device(request: str = "auto") -> DeviceChoice:
    """Choose a device and try it once.

    Args:
        request: ``auto``, or a device as torch names it: ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ...

    Returns:
        For ``auto`` the machine's accelerator if it computes, else the CPU, never a failure.

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
        device: Where the network will run.

    Raises:
        UsageError: There is no such precision.
        DeviceError: The device cannot compute in it.
    """
    if request not in get_args(Precision):
        raise UsageError(
            f"there is no precision {request!r}", hint=f"one of {', '.join(get_args(Precision))}"
        )
    if request == "auto":
        return _automatic_precision(device)
    dtype: torch.dtype = getattr(torch, request)
    problem = _failure(device, dtype)
    if problem is not None:
        raise DeviceError(f"{device} cannot compute in {request}: {problem}", hint="float32 always works")
    return PrecisionChoice(dtype, "asked for")


def _automatic_precision(device: torch.device) -> PrecisionChoice:
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= TENSOR_CORES:
        return PrecisionChoice(torch.float16, CUDA_FLOAT16)
    if device.type != "cpu":
        return PrecisionChoice(torch.float32, "half precision has not been measured on this device yet")
    if not has_fast_bfloat16(torch.cpu.get_capabilities()):
        return PrecisionChoice(torch.float32, "this processor has no instructions for bfloat16")
    return PrecisionChoice(torch.bfloat16, CPU_BFLOAT16)


def has_fast_bfloat16(capabilities: Mapping[str, object]) -> bool:
    """Whether a processor multiplies bfloat16 faster than float32, from what torch found it to have.

    Without these instructions bfloat16 is emulated, slower than float32. Those of ARM have not been measured.
    """
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


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
    name = f"{device.type}:{device.index or 0}" if device.type != "cpu" else request
    if name not in available_devices():
        raise DeviceError(f"there is no device {request!r} here", hint=_devices_hint())
    return torch.device(name)


def _devices_hint() -> str:
    return f"devices here: {', '.join(available_devices())}"


def _failure(device: torch.device, dtype: torch.dtype = torch.float32) -> str | None:
    """Run a small convolution; tell what went wrong, or None.

    A device may be listed and still not compute: a GPU too old for this torch build, or one held by another
    process. A CPU may lack kernels for a type.
    """
    try:
        picture = torch.ones(1, 3, 8, 8, device=device, dtype=dtype)
        F.conv2d(picture, picture.new_ones(3, 3, 3, 3)).sum().item()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return None
