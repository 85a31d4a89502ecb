"""Measure the peak memory of running a network once, as the system or the device reports it.

On the CPU, each run is measured in a separate process, because the peak of a process never falls.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import torch

from esc_cli.errors import DeviceError, EscError, OutOfMemoryError
from esc_cli.evaluation.benchmark.candidates import NetworkSource, Settings


@dataclass(frozen=True)
class Trial:
    """One run of a network on the CPU, described so that another process can do it.

    Attributes:
        source: Source of the network.
        settings: The way in which the network is run.
        height: Height of the low-resolution picture, in pixels.
        width: Width of the low-resolution picture, in pixels.
        threads: Number of threads that torch may use.
    """

    source: NetworkSource
    settings: Settings
    height: int
    width: int
    threads: int


@cache
def idle_bytes() -> int | None:
    """Measure a process that only imports torch and this program; None if the system does not report it."""
    return _answer(_ask("--idle"))


def host_peak_bytes(trial: Trial) -> int | None:
    """Measure the peak resident memory of a whole process that loads a network and runs it once.

    Returns:
        The peak in bytes; None if the system does not report it.

    Raises:
        OutOfMemoryError: The system ended the process.
        EscError: The network cannot be run in this way. Its class differs from that in the other process.
    """
    return _answer(_ask(json.dumps(asdict(trial))))


def cuda_peak_bytes(device: torch.device, run: Callable[[], object]) -> int:
    """Measure the peak memory of loading and running on a CUDA device, beyond what is already allocated.

    Args:
        device: The CUDA device.
        run: Function that loads the network on the device and runs it.
    """
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


def _ask(question: str) -> subprocess.CompletedProcess[str]:
    """Run the other process. It finds its modules in the same places as this one."""
    return subprocess.run(  # noqa: S603
        [sys.executable, "-m", __name__, question],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _answer(ended: subprocess.CompletedProcess[str]) -> int | None:
    if ended.returncode == -signal.SIGKILL:
        raise OutOfMemoryError("the system ended the process, most likely because memory ran out")
    if ended.returncode:
        raise DeviceError(f"the process failed: {(ended.stderr.strip().splitlines() or ['no word'])[-1]}")
    answer = json.loads(ended.stdout)
    if "message" in answer:
        raise DeviceError(answer["message"], answer["hint"])
    peak: int | None = answer["peak_bytes"]
    return peak


def _peak_bytes() -> int | None:
    """Return the peak resident memory of this process.

    On Linux, ``getrusage`` is not used because it includes the peak of the parent process.

    Source: proc_pid_status(5), VmHWM.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS only
    return None


def _run(question: str) -> None:
    fields = json.loads(question)
    torch.set_num_threads(fields["threads"])
    checkpoint = NetworkSource(**fields["source"]).load()
    upscaler = Settings(**fields["settings"]).upscaler(checkpoint, "cpu")
    upscaler(torch.rand(1, 3, fields["height"], fields["width"]))


def _main(question: str) -> None:
    try:
        if question != "--idle":
            _run(question)
        answer: dict[str, object] = {"peak_bytes": _peak_bytes()}
    except EscError as error:
        answer = {"message": error.message, "hint": error.hint}
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    _main(sys.argv[1])
