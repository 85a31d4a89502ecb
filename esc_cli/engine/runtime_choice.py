"""What runs a network, torch or OpenVINO, and why."""

import importlib.util
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from esc_cli.engine.openvino_graph import obstacle
from esc_cli.errors import DeviceError, UsageError

Runtime = Literal["auto", "torch", "openvino"]

# ESC x4 on two cores of a Zen 4, in turns with torch on tiles of 128x128: OpenVINO takes 28.6 microseconds a
# low-resolution pixel in float32 and 17.8 in bfloat16, torch 37.2 and 29.9.
SAVED_S_PER_PX = {torch.float32: 8.6e-6, torch.bfloat16: 12.1e-6}
MEASURED_THREADS = 2

START_S = 3.2
"""To import OpenVINO (0.1), rewrite the network (0.2), trace and convert it (2.9)."""

SHAPE_S = 2.5
"""To compile for one shape."""


@dataclass(frozen=True)
class RuntimeChoice:
    """What runs a network.

    Attributes:
        name: ``torch`` or ``openvino``.
        reason: Why this one, as the end of a sentence.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Job:
    """What is to be done, as far as it is known beforehand.

    Attributes:
        low_px: Low-resolution pixels that will go through the network in all, or None.
        shapes: Different shapes of pictures or tiles among them: each is compiled for.
    """

    low_px: int | None
    shapes: int = 1


def choose_runtime(
    request: str, network: nn.Module, device: torch.device, dtype: torch.dtype, job: Job
) -> RuntimeChoice:
    """Choose what runs a network.

    Args:
        request: ``torch``, ``openvino``, or ``auto``: OpenVINO where it is installed, can run the network,
            and the job is so large that it wins back the seconds that it takes to start.
        network: What is to be run.
        device: Where.
        dtype: In which precision.
        job: How much of it.

    Raises:
        UsageError: There is no such runtime.
        DeviceError: OpenVINO was asked for, and is not installed or cannot run this.
    """
    if request not in get_args(Runtime):
        raise UsageError(f"there is no runtime {request!r}", hint=f"one of {', '.join(get_args(Runtime))}")
    if request == "torch":
        return RuntimeChoice("torch", "asked for")
    if request == "auto":
        return _automatic(network, device, dtype, job)
    if not _is_installed():
        raise DeviceError("OpenVINO is not installed", hint="pip install 'esc-upscale[openvino]'")
    problem = _obstacle(network, device, dtype)
    if problem is not None:
        raise DeviceError(f"OpenVINO is of no use here: {problem}", hint="choose the runtime torch, or auto")
    return RuntimeChoice("openvino", "asked for")


def _automatic(network: nn.Module, device: torch.device, dtype: torch.dtype, job: Job) -> RuntimeChoice:
    if not _is_installed():
        return RuntimeChoice("torch", "OpenVINO is not installed")
    problem = _obstacle(network, device, dtype)
    if problem is not None:
        return RuntimeChoice("torch", problem)
    if job.low_px is None:
        return RuntimeChoice("torch", "it is not known how much there is to do")
    needed_px = worthwhile_px(dtype, job.shapes)
    if job.low_px < needed_px:
        return RuntimeChoice("torch", f"OpenVINO's start pays from {needed_px / 1e6:.2g} megapixels on")
    return RuntimeChoice("openvino", f"its start pays from {needed_px / 1e6:.2g} megapixels on")


def worthwhile_px(dtype: torch.dtype, shapes: int) -> int:
    """Give the low-resolution pixels from which OpenVINO wins back its start on the CPU.

    That is (start + shapes * compilation) / (seconds saved per pixel): 0.66 megapixels in float32 and 0.47 in
    bfloat16 for one shape and two threads. With more threads there is less to save, and no shorter start.
    Smaller networks start faster in the same proportion (ESC-light: 0.6 of all these times).
    """
    threads = torch.get_num_threads() / MEASURED_THREADS
    return int((START_S + shapes * SHAPE_S) / SAVED_S_PER_PX[dtype] * threads)


def _obstacle(network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    if device.type != "cpu":
        return f"it runs on the CPU, not on {device}"
    if dtype not in SAVED_S_PER_PX:
        return f"it does not compute in {str(dtype).removeprefix('torch.')}"
    return obstacle(network)


def _is_installed() -> bool:
    return importlib.util.find_spec("openvino") is not None
