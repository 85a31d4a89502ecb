import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.candidates import REFERENCE, NetworkSource
from esc_cli.evaluation.benchmark.peak_memory import Trial, cuda_peak_bytes, host_peak_bytes, idle_bytes

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="this system does not report the peak")


def test_each_process_has_a_peak_of_its_own() -> None:
    ballast = np.ones(400_000_000, np.uint8)  # getrusage would count this in the other process, too
    idle = idle_bytes()
    assert idle is not None
    # Importing torch took 224 MB with version 2.13 on Linux.
    assert 100e6 < idle < ballast.nbytes


def test_a_result_shows_up_in_the_peak() -> None:
    small = Trial(NetworkSource("nearest", 4), REFERENCE, height=1, width=1, threads=1)
    large = replace(small, height=1000, width=1000)
    peaks = [host_peak_bytes(trial) for trial in (small, large)]
    assert peaks[0] is not None
    assert peaks[1] is not None
    assert 16e6 * 3 * 4 < peaks[1] - peaks[0] < 5 * 16e6 * 3 * 4  # the result is 192 MB


def test_failures_are_sentences(tmp_path: Path) -> None:
    trial = Trial(NetworkSource(str(tmp_path / "missing.pth")), REFERENCE, height=8, width=8, threads=1)
    with pytest.raises(EscError, match=r"missing\.pth"):
        host_peak_bytes(trial)


@pytest.mark.cuda
def test_on_cuda_what_is_there_already_does_not_count() -> None:
    device = torch.device("cuda", 0)
    ballast = torch.zeros(10**7, device=device)
    peak = cuda_peak_bytes(device, lambda: torch.zeros(10**6, device=device))
    assert 4 * 10**6 <= peak < ballast.nbytes
