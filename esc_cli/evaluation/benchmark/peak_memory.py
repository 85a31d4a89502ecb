"""Peak memory of running a network once, as the system or the device counts it.

On the CPU each is measured in a process of its own: a high-water mark never falls again.
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
from esc_cli.evaluation.benchmark.candidates import Settings, Source


@dataclass(frozen=True)
class Trial:
    """One picture through one network on the CPU, all of it in words, for another process.

    Attributes:
        source: The network.
        settings: How it is run.
        height: Of the low-resolution picture, pixels.
        width: As ``height``.
        threads: That torch may use.
    """

    source: Source
    settings: Settings
    height: int
    width: int
    threads: int


@cache
def idle_bytes() -> int | None:
    """Measure a process that has imported torch and nothing else; None where the system does not say."""
    return _answer(_ask("--idle"))


def host_peak_bytes(trial: Trial) -> int | None:
    """Measure the peak resident memory of a whole process that loads a network and runs it once.

    Returns:
        None where the system does not say.

    Raises:
        OutOfMemoryError: The system ended the process.
        EscError: The network cannot be run in this way; another class than in its own process.
    """
    return _answer(_ask(json.dumps(asdict(trial))))


def cuda_peak_bytes(device: torch.device, run: Callable[[], object]) -> int:
    """Measure what loading and running takes on a CUDA device, beyond what is there before.

    Args:
        device: The device.
        run: Loads the network there and runs it.
    """
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device) - before


def _ask(question: str) -> subprocess.CompletedProcess[str]:
    """Start the process; it finds its modules where this one does."""
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
        raise OutOfMemoryError("the system ended the process, most likely for want of memory")
    if ended.returncode:
        raise DeviceError(f"the process failed: {(ended.stderr.strip().splitlines() or ['no word'])[-1]}")
    answer = json.loads(ended.stdout)
    if "message" in answer:
        raise DeviceError(answer["message"], answer["hint"])
    peak: int | None = answer["peak_bytes"]
    return peak


def _peak_bytes() -> int | None:
    """Give this process's peak resident memory.

    On Linux not by ``getrusage``: that hands a process the peak of the one that started it, too.

    Source: proc_pid_status(5), VmHWM.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes, on macOS alone
    return None


def _run(question: str) -> None:
    fields = json.loads(question)
    torch.set_num_threads(fields["threads"])
    checkpoint = Source(**fields["source"]).load()
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
