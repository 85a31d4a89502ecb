"""Find the devices that ONNX Runtime has on this machine, which it calls execution providers.

The names are those of ``--device``: ``cpu``, ``cuda:1``, ``tensorrt``, ``directml``, ``coreml``. The package
that is installed (``onnxruntime``, ``onnxruntime-gpu``, ``onnxruntime-directml``) determines which exist.
"""

import importlib
import os
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from esc_cli.errors import DeviceError, first_line

QUIET = 4
"""ONNX Runtime's level of messages that stop the program. It writes all others to stderr besides raising."""


@dataclass(frozen=True)
class Provider:
    """A kind of device.

    Attributes:
        name: Name of the kind for users.
        title: Name of the kind in sentences.
        library_name: ONNX Runtime's name of the provider.
        index_option: Name of the provider's option for the number of the device; empty if there is only one.
        is_automatic: Whether ``auto`` may choose it.
    """

    name: str
    title: str
    library_name: str
    index_option: str = ""
    is_automatic: bool = True


CPU = Provider("cpu", "the CPU", "CPUExecutionProvider")

PROVIDERS = (
    Provider("cuda", "CUDA", "CUDAExecutionProvider", "device_id"),
    # It builds an engine for each size of a picture, which takes minutes.
    Provider("tensorrt", "TensorRT", "TensorrtExecutionProvider", "device_id", is_automatic=False),
    Provider("migraphx", "MIGraphX", "MIGraphXExecutionProvider", "device_id"),
    Provider("directml", "DirectML", "DmlExecutionProvider", "device_id"),
    Provider("coreml", "Core ML", "CoreMLExecutionProvider"),
    CPU,
)
"""All kinds of devices, in the order of ``auto``."""

_OTHER_NAMES = {"mps": "coreml", "dml": "directml"}


@dataclass(frozen=True)
class Place:
    """A device of ONNX Runtime.

    Attributes:
        provider: Kind of the device.
        index: Number of the device among those of its kind.
        reason: Reason for the choice, as the end of a sentence.
    """

    provider: Provider = CPU
    index: int = 0
    reason: str = "asked for"

    def __str__(self) -> str:
        return f"{self.provider.name}:{self.index}" if self.provider.index_option else self.provider.name

    @property
    def request(self) -> tuple[str, dict[str, Any]]:
        """The device as ONNX Runtime is asked for it."""
        option = self.provider.index_option
        return self.provider.library_name, {option: str(self.index)} if option else {}


@cache
def onnxruntime() -> ModuleType:
    """Import ONNX Runtime, without its messages and its telemetry.

    The telemetry begins at the import, writes an identifier into the user's home, and can send data over the
    network, on Linux since version 1.32 at the latest.

    Raises:
        DeviceError: ONNX Runtime cannot be loaded, for example because a library that it needs is missing.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        reason = first_line(error)
        raise DeviceError(f"ONNX Runtime cannot be loaded: {reason}", hint="install it again") from error
    module.set_default_logger_severity(QUIET)
    module.disable_telemetry_events()
    return module


def available_providers() -> tuple[Provider, ...]:
    """Return the kinds of devices that the installed package supports, in the order of ``auto``."""
    names: list[str] = onnxruntime().get_available_providers()
    return tuple(provider for provider in PROVIDERS if provider.library_name in names)


def choose_place(request: str) -> Place:
    """Choose a device of ONNX Runtime.

    Args:
        request: ``auto``, or a name such as ``cpu``, ``cuda:1`` or ``directml``.

    Raises:
        DeviceError: ONNX Runtime has no such device here.
    """
    available = available_providers()
    if request == "auto":
        first = next(provider for provider in available if provider.is_automatic)
        reason = "no accelerator of ONNX Runtime is there" if first == CPU else "the first of ONNX Runtime"
        return Place(first, reason=reason)
    name, _, index = request.partition(":")
    for provider in available:
        if provider.name == _OTHER_NAMES.get(name, name) and (index or "0").isdecimal():
            return Place(provider, int(index or 0))
    raise DeviceError(
        f"ONNX Runtime has no device {request!r} here",
        hint=f"choose one of {', '.join(provider.name for provider in available)}; the packages "
        "onnxruntime-gpu and onnxruntime-directml have others",
    )
