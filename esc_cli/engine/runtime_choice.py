"""What runs a network, torch or OpenVINO."""

import importlib.util
from typing import Literal, get_args

import torch
from torch import nn

from esc_cli.engine.openvino_graph import obstacle
from esc_cli.errors import DeviceError, UsageError

Runtime = Literal["auto", "torch", "openvino"]

# ESC x4 on two cores of a Zen 4, microseconds for a low-resolution pixel, in float32 and in bfloat16:
#
#              128x128        256x256        384x384        512x512
#   OpenVINO   38.5   16.8    29.0   17.1    31.4   18.7    33.1   20.0
#   torch      35.0   25.7    36.6   25.9    41.7   33.8    39.0   32.1
SAVED_S_PER_PX = {torch.float32: 7e-6, torch.bfloat16: 11e-6}
MEASURED_THREADS = 2

START_S = 5.0
"""To rewrite, trace and convert the network, and to compile it for a shape."""


def choose_runtime(
    request: str, network: nn.Module, device: torch.device, dtype: torch.dtype, job_px: int
) -> str:
    """Choose what runs a network over pictures of one size.

    Args:
        request: ``torch``, ``openvino``, or ``auto``: OpenVINO where it is installed, can run the network,
            and the job is so large that it wins back the seconds that it takes to start.
        network: What is to be run.
        device: Where.
        dtype: In which precision.
        job_px: Low-resolution pixels of all these pictures together.

    Returns:
        ``torch`` or ``openvino``.

    Raises:
        UsageError: There is no such runtime.
        DeviceError: OpenVINO was asked for, and is not installed or cannot run this.
    """
    if request not in get_args(Runtime):
        raise UsageError(f"there is no runtime {request!r}", hint=f"one of {', '.join(get_args(Runtime))}")
    if request == "torch":
        return "torch"
    problem = _obstacle(network, device, dtype)
    if request == "openvino":
        _refuse(problem)
        return "openvino"
    return "openvino" if problem is None and job_px >= worthwhile_px(dtype) else "torch"


def worthwhile_px(dtype: torch.dtype) -> int:
    """Give the low-resolution pixels of one size from which OpenVINO wins back its start on the CPU.

    With more threads than were measured with there is less to save, and no shorter start. Smaller networks
    start faster in the same proportion (ESC-light: 0.6 of all these times).
    """
    return int(START_S / SAVED_S_PER_PX[dtype] * torch.get_num_threads() / MEASURED_THREADS)


def _refuse(problem: str | None) -> None:
    if not is_installed():
        raise DeviceError("OpenVINO is not installed", hint="pip install 'esc-upscale[openvino]'")
    if problem is not None:
        raise DeviceError(f"OpenVINO is of no use here: {problem}", hint="choose the runtime torch, or auto")


def _obstacle(network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
    if not is_installed():
        return "OpenVINO is not installed"
    if device.type != "cpu":
        return f"it runs on the CPU, not on {device}"
    if dtype not in SAVED_S_PER_PX:
        return f"it does not compute in {str(dtype).removeprefix('torch.')}"
    return obstacle(network)


def is_installed() -> bool:
    """Tell whether OpenVINO is there."""
    return importlib.util.find_spec("openvino") is not None
