"""All runtimes by name, and which one a job gets. To add a runtime, add a line to ``MODULES``."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from esc_cli.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from esc_cli.engine.executors.base import Runtime

MODULES = {
    "torch": "esc_cli.engine.executors.torch_executor",
    "openvino": "esc_cli.engine.executors.openvino_executor",
}
"""The module of each runtime, loaded when it is asked for; its ``RUNTIME`` is the object."""

AUTO = "auto"
"""The runtime that saves most time on the job."""

REQUESTS = (AUTO, *MODULES)
"""What a user can ask for."""


def runtime_named(name: str) -> "Runtime":
    """Give a runtime.

    Raises:
        UsageError: There is none of this name.
    """
    if name not in MODULES:
        raise UsageError(f"there is no runtime {name!r}", hint=f"one of {', '.join(REQUESTS)}")
    runtime: Runtime = import_module(MODULES[name]).RUNTIME
    return runtime


def choose_runtime(
    request: str,
    network: "nn.Module",
    device: "torch.device",
    dtype: "torch.dtype",
    job_px: int,
    suits: Callable[["Runtime"], bool] = lambda runtime: True,
) -> "Runtime":
    """Choose what runs a network over pictures of one size.

    Args:
        request: The name of a runtime, or ``auto``: the one that saves most time, its start included, of
            those that are installed and can run the network.
        network: What is to be run.
        device: Where.
        dtype: In which precision.
        job_px: Low-resolution pixels of all these pictures together.
        suits: Tells of a runtime that nobody asked for whether it may be taken.

    Raises:
        UsageError: There is no such runtime.
        DeviceError: A runtime was asked for, and is not installed or cannot run this.
    """
    if request != AUTO:
        runtime = runtime_named(request)
        _check(runtime, network, device, dtype)
        return runtime
    best, most_s = runtime_named("torch"), 0.0
    for name in MODULES:
        runtime = runtime_named(name)
        if not runtime.is_installed or runtime.obstacle(network, device, dtype) is not None:
            continue
        saved_s = runtime.saved_s(dtype, job_px)
        if saved_s > most_s and suits(runtime):
            best, most_s = runtime, saved_s
    return best


def _check(runtime: "Runtime", network: "nn.Module", device: "torch.device", dtype: "torch.dtype") -> None:
    if not runtime.is_installed:
        hint = f"pip install 'esc-upscale[{runtime.name}]'"
        raise DeviceError(f"{runtime.title} is not installed", hint=hint)
    problem = runtime.obstacle(network, device, dtype)
    if problem is not None:
        hint = "choose the runtime torch, or auto"
        raise DeviceError(f"{runtime.title} is of no use here: {problem}", hint=hint)
