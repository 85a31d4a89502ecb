"""Facts about this installation: its versions, its extras and this machine."""

import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from esc_cli.engine.device import DeviceChoice, choose_device, choose_precision
from esc_cli.engine.executors.registry import MODULES
from esc_cli.engine.memory.free import free_bytes, host_free_bytes
from esc_cli.engine.pixels import dtype_name
from esc_cli.engine.threads import usable_cores
from esc_cli.engine.tuning.store import Store
from esc_cli.media.formats.registry import FORMATS
from esc_cli.version import PROGRAM

_DEVELOPERS_EXTRA = "test"


@dataclass(frozen=True)
class Extra:
    """An extra of this package.

    Attributes:
        name: Name of the extra.
        brings: Names of the formats and runtimes that need it.
        packages: Version of each of its packages; None if it is not installed.
    """

    name: str
    brings: tuple[str, ...]
    packages: dict[str, str | None]


def versions() -> dict[str, str]:
    """Return the versions of the program, of Python, of the system, and of the libraries that it needs."""
    needed = {name: _version(name) for name, extra in _requirements() if extra is None}
    return {
        PROGRAM: _version(PROGRAM) or "not installed as a package",
        "Python": platform.python_version(),
        "system": platform.platform(),
        **{name: version or "not installed" for name, version in needed.items()},
    }


def extras() -> tuple[Extra, ...]:
    """Return the extras of this package, except for the one for its developers."""
    found: dict[str, dict[str, str | None]] = {}
    for name, extra in _requirements():
        if extra not in (None, _DEVELOPERS_EXTRA):
            found.setdefault(str(extra), {})[name] = _version(name)
    return tuple(Extra(name, _brought_by(name), packages) for name, packages in found.items())


def machine() -> dict[str, Any]:
    """Return facts about the devices, the memory and the threads, with the reasons for the choices."""
    device = choose_device()
    precision = choose_precision("auto", device.device)
    speeds = Store.here().path
    return {
        "device": str(device.device),
        "device_reason": device.reason,
        "device_name": device_name(device),
        "precision": dtype_name(precision.dtype),
        "precision_reason": precision.reason,
        "free_memory_bytes": host_free_bytes(),
        "free_device_bytes": free_bytes(device.device),
        "cores": usable_cores(),
        "torch_threads": torch.get_num_threads(),
        "speed_file": None if speeds is None else str(speeds),
        "processor": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cuda": torch.version.cuda,
        "executable": sys.executable,
    }


def device_name(choice: DeviceChoice) -> str:
    """Return the name of a GPU, or the kind of a processor with the instructions that torch uses."""
    if choice.device.type == "cuda":
        return torch.cuda.get_device_name(choice.device)
    return f"{platform.machine()} with {torch.backends.cpu.get_cpu_capability()}"


def _brought_by(extra: str) -> tuple[str, ...]:
    formats = (format.name for format in FORMATS.values() if format.extra == extra)
    return (*formats, *(f"--runtime {name}" for name in MODULES if name == extra))


def _requirements() -> Iterator[tuple[str, str | None]]:
    """Yield the name of each package that this one requires, and the extra that it belongs to, if any."""
    try:
        lines = importlib.metadata.requires(PROGRAM) or []
    except importlib.metadata.PackageNotFoundError:
        return
    for line in lines:
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        if name is not None:
            yield name[0], None if extra is None else extra[1]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
