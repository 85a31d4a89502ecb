import os
import subprocess
import sys
from pathlib import Path

import pytest

from esc_cli.jobs import niceness

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no niceness")
def test_the_niceness_rises_to_the_value_once() -> None:
    """A process of its own is used, because only root may lower the niceness again."""
    program = (
        "import os; from esc_cli.jobs.niceness import be_nice; begin = os.nice(0);"
        "be_nice(None); be_nice(0); print(os.nice(0) - begin);"
        "be_nice(18); print(os.nice(0)); be_nice(18); print(os.nice(0)); be_nice(3); print(os.nice(0))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert said.stdout.split() == [b"0", b"18", b"18", b"18"]


def test_windows_says_that_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert niceness.be_nice(None) is None
    assert (niceness.be_nice(5) or "").startswith("--nice has no effect on Windows")
