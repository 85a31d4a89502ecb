import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine import threads
from esc_cli.engine.threads import usable_cores
from esc_cli.engine.upscaler import Upscaler

AFFINITY = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
several_cores = pytest.mark.skipif(AFFINITY < 2, reason="one core leaves nothing to limit")


def write(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def test_without_control_groups_it_is_the_affinity(tmp_path: Path) -> None:
    assert usable_cores(tmp_path) == AFFINITY


@pytest.mark.parametrize(("quota", "cores"), [("max", AFFINITY), ("100000", 1), ("50000", 1), ("1000", 1)])
def test_the_quota_of_version_2_counts(tmp_path: Path, quota: str, cores: int) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": f"{quota} 100000\n"}
    assert usable_cores(write(tmp_path, files)) == cores


@several_cores
def test_a_fraction_of_a_core_is_rounded_up(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}
    assert usable_cores(write(tmp_path, files)) == 2


@several_cores
def test_the_tightest_of_nested_groups_counts(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/user/job\n",
        "sys/fs/cgroup/user/cpu.max": "100000 100000\n",
        "sys/fs/cgroup/user/job/cpu.max": "max 100000\n",
    }
    assert usable_cores(write(tmp_path, files)) == 1


@several_cores
@pytest.mark.parametrize(("quota", "cores"), [("-1", AFFINITY), ("200000", 1)])
def test_the_old_version_s_files_are_read(tmp_path: Path, quota: str, cores: int) -> None:
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n4:cpu,cpuacct:/docker/abc\n0::/\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": f"{quota}\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "200000\n",
    }
    assert usable_cores(write(tmp_path, files)) == cores


@several_cores
def test_torch_is_limited_and_never_raised() -> None:
    code = (
        "import torch; from esc_cli.engine import threads; before = torch.get_num_threads();"
        "threads.limit_threads(); assert torch.get_num_threads() == before;"
        "torch.set_num_threads(4096); threads.limit_threads();"
        "assert torch.get_num_threads() == threads.usable_cores()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_are_limited_inside_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "usable_cores", lambda: 4)
    before = torch.get_num_threads()
    with threads.computing_with(3):
        assert torch.get_num_threads() == 3
        assert threads.threads_in_use(3) == (3, "asked for")
    with threads.computing_with(99):
        assert threads.threads_in_use(99) == (4, "99 asked for, but there are no more cores")
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert threads.threads_in_use(None) == (4, "one per core")
    with threads.computing_with(None):
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        assert threads.threads_in_use(None) == (before, "set by OMP_NUM_THREADS")
    assert torch.get_num_threads() == before


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("values", "used"),
    [(1, 1), (threads.VALUES_PER_THREAD - 1, 1), (2 * threads.VALUES_PER_THREAD, 2), (10**9, 2)],
)
def test_copies_of_a_few_values_are_not_split(values: int, used: int) -> None:
    with threads.copying(values):
        assert torch.get_num_threads() == used
    assert torch.get_num_threads() == 2


@several_cores
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("width", "used"), [(64, 1), (4096, 2)])
def test_a_small_picture_of_a_baseline_is_not_split(width: int, used: int) -> None:
    upscaler, seen = Upscaler("nearest", scale=2, device="cpu"), set()
    low = torch.zeros(1, 3, 64, width, dtype=torch.uint8)
    upscaler(low, progress=lambda done, total: seen.add(torch.get_num_threads()))
    assert (seen, torch.get_num_threads()) == ({used}, 2)


@several_cores
@pytest.mark.usefixtures("two_threads")
def test_a_network_uses_all_threads_for_a_small_picture(tiny_esc: Checkpoint) -> None:
    seen = set()
    low = torch.zeros(1, 3, 8, 8)
    Upscaler(tiny_esc, device="cpu")(low, progress=lambda done, total: seen.add(torch.get_num_threads()))
    assert seen == {2}
