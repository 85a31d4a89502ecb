"""Keep what was measured in a small file for each machine, so that a later run need not measure it again."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

import torch

from esc_cli.engine.executors.registry import MODULES, runtime_named
from esc_cli.engine.threads import usable_cores
from esc_cli.engine.tuning.figures import Figures
from esc_cli.errors import OutputError
from esc_cli.storage.folders import cache_folder
from esc_cli.storage.whole_files import make_folder, write_whole
from esc_cli.version import PROGRAM, program_version

VERSION = 1
"""Version of the files. It increases when their layout changes, or what is measured."""


@dataclass(frozen=True)
class Store:
    """The file with the figures of a machine.

    Attributes:
        folder: Folder of the file. None means that nothing is kept.
        machine: Everything that the times depend on except the network and the device.
    """

    folder: Path | None
    machine: Mapping[str, Any]

    @classmethod
    def here(cls) -> Self:
        """Return the store of this machine, with the threads that torch uses now."""
        return cls(cache_folder(PROGRAM), this_machine())

    @property
    def path(self) -> Path | None:
        """The path of the file, which need not exist."""
        text = json.dumps(self.machine, sort_keys=True)
        name = f"speed-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
        return None if self.folder is None else self.folder / name

    @property
    def can_keep(self) -> bool:
        """Whether the file can be written, as far as permissions tell."""
        if self.folder is None:
            return False
        existing = next(folder for folder in (self.folder, *self.folder.parents) if folder.exists())
        return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)

    def recall(self, key: str) -> Figures:
        """Return the figures of a network. They are empty if there are none, or the file is not valid."""
        try:
            return Figures.from_json(self._networks()[key])
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
            return Figures()

    def keep(self, key: str, figures: Figures) -> None:
        """Write the figures of a network. If that fails, a later run measures them again.

        Of two processes that write at the same time, one may lose its figures, and measures them again.
        """
        if self.path is None:
            return
        networks = {**self._networks(), key: figures.as_json()}
        content = {"version": VERSION, "machine": self.machine, "networks": networks}
        try:
            make_folder(self.path.parent)
            write_whole(self.path, json.dumps(content, indent=1).encode("ascii"))
        except OutputError:
            return

    def _networks(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_bytes()) if self.path is not None else {}
            is_ours = content["version"] == VERSION and content["machine"] == self.machine
            return dict(content["networks"]) if is_ours else {}
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return {}


def this_machine() -> dict[str, Any]:
    """Return everything that times depend on here except the network and the device, as a JSON object."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "processor": _processor(),
        "capabilities": sorted(name for name, value in capabilities.items() if value is True),
        "cores": os.cpu_count(),
        "threads": min(torch.get_num_threads(), usable_cores()),
        "program": program_version(),
        "torch": str(torch.__version__),
        **{name: _version(name) for runtime in map(runtime_named, MODULES) for name in runtime.packages},
    }


@cache
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _processor() -> str:
    """Return the name of the processor. Linux has it only in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
