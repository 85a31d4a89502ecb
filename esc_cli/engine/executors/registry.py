"""The registry of runtimes, and the choice of one for a job. To add a runtime, add a line to ``MODULES``."""

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from esc_cli.errors import DeviceError, UsageError
from esc_cli.version import install_hint

if TYPE_CHECKING:
    import torch
    from torch import nn

    from esc_cli.engine.device import DeviceChoice
    from esc_cli.engine.executors.base import Runtime

MODULES = {
    "torch": "esc_cli.engine.executors.torch_executor",
    "openvino": "esc_cli.engine.executors.openvino_executor",
    "onnx": "esc_cli.engine.executors.onnx_executor",
}
"""The module of each runtime. It is loaded on first use, and its ``RUNTIME`` is the runtime."""

STANDARD = "torch"
"""The runtime that runs every network on every device, and that is used if no other one saves time."""

AUTO = "auto"
"""Stands for the runtime that saves the most time on the job."""

REQUESTS = (AUTO, *MODULES)
"""All names that a user can ask for."""


def runtime_named(name: str) -> "Runtime":
    """Return the runtime with a given name.

    Raises:
        UsageError: There is no runtime with this name.
    """
    if name not in MODULES:
        raise UsageError(f"there is no runtime {name!r}", hint=f"choose one of {', '.join(REQUESTS)}")
    runtime: Runtime = import_module(MODULES[name]).RUNTIME
    return runtime


def is_standard(runtime: "Runtime") -> bool:
    """Return whether a runtime is the standard one."""
    return runtime.name == STANDARD


def choose_device_for(runtime: str, device: str) -> "tuple[DeviceChoice, str | Runtime]":
    """Choose the device. A runtime that has devices of its own chooses it.

    Args:
        runtime: The name of a runtime, or ``auto``.
        device: ``auto``, or the name of a device of torch or of the runtime.

    Returns:
        The device, and the request for ``choose_runtime``.

    Raises:
        UsageError: The runtime does not exist.
        DeviceError: The device does not exist here or cannot compute, or the runtime is not installed.
    """
    from esc_cli.engine.device import choose_device

    named = None if runtime == AUTO else runtime_named(runtime)
    if named is None or not named.has_own_devices:
        return choose_device(device), runtime
    _check_installed(named)
    placed, choice = named.placed(device)
    return choice, placed


def choose_runtime(
    request: "str | Runtime",
    network: "nn.Module",
    device: "torch.device",
    dtype: "torch.dtype",
    job_px: int,
    suits: Callable[["Runtime"], bool] = lambda runtime: True,
    measured_s: Callable[["Runtime"], float | None] = lambda runtime: None,
) -> "Runtime":
    """Choose the runtime for a network and pictures of one size.

    Args:
        request: A runtime or its name, or ``auto`` for the one that saves the most time, its start included,
            among those that are installed and can run the network.
        network: Network to run.
        device: Device to run on.
        dtype: Precision to run in.
        job_px: Number of low-resolution pixels of all these pictures together.
        suits: Returns whether ``auto`` may choose a runtime. It is not asked about torch.
        measured_s: Returns how many seconds a runtime saves on this job according to measurements on this
            machine, or None if there are none.

    Raises:
        UsageError: The runtime does not exist.
        DeviceError: The requested runtime is not installed or cannot run this network.
    """
    if request != AUTO:
        runtime = runtime_named(request) if isinstance(request, str) else request
        _check(runtime, network, device, dtype)
        return runtime
    best, most_s = runtime_named(STANDARD), 0.0
    for name in MODULES:
        runtime = runtime_named(name)
        measured = measured_s(runtime)
        saved_s = runtime.saved_s(network, dtype, job_px) if measured is None else measured
        # This is asked for every picture, so the cheapest question comes first.
        if saved_s <= most_s or not runtime.is_installed:
            continue
        if runtime.obstacle(network, device, dtype) is None and suits(runtime):
            best, most_s = runtime, saved_s
    return best


def _check(runtime: "Runtime", network: "nn.Module", device: "torch.device", dtype: "torch.dtype") -> None:
    _check_installed(runtime)
    problem = runtime.obstacle(network, device, dtype)
    if problem is not None:
        hint = "choose the runtime torch or auto"
        raise DeviceError(f"{runtime.title} cannot be used here: {problem}", hint=hint)


def _check_installed(runtime: "Runtime") -> None:
    if not runtime.is_installed:
        raise DeviceError(f"{runtime.title} is not installed", hint=install_hint(runtime.name))
