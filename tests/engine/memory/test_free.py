from pathlib import Path

import pytest
import torch

from esc_cli.engine.memory.free import free_bytes, host_free_bytes, release_reserve

MEMINFO = "MemTotal:       8388608 kB\nMemFree:        1048576 kB\nMemAvailable:   4194304 kB\n"
GIB = 2**30


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def group(folder: str, limit: str, usage: int, cache: int) -> dict[str, str]:
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{usage}\n",
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cache}\nactive_file 7\n",
    }


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path, {"proc/meminfo": MEMINFO, "proc/self/cgroup": "0::/user/job\n"})
    return tmp_path


def test_without_limits_it_is_what_the_kernel_calls_available(root: Path) -> None:
    assert host_free_bytes(root) == 4 * GIB


def test_a_container_s_limit_counts_with_its_file_cache_as_free(root: Path) -> None:
    write(root, group("sys/fs/cgroup", str(2 * GIB), GIB, GIB // 2))
    assert host_free_bytes(root) == 3 * GIB // 2


def test_the_tightest_of_nested_limits_counts(root: Path) -> None:
    write(root, group("sys/fs/cgroup/user", str(GIB), GIB // 2, 0))
    write(root, group("sys/fs/cgroup/user/job", "max", GIB // 4, 0))
    assert host_free_bytes(root) == GIB // 2


def test_the_old_version_s_files_are_read(root: Path) -> None:
    write(
        root,
        {
            "proc/self/cgroup": "9:name=systemd:/\n4:cpu,memory:/docker/abc\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB // 2}\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 1024\n",
        },
    )
    assert host_free_bytes(root) == GIB // 2 + 1024


def test_a_limit_already_passed_leaves_nothing(root: Path) -> None:
    write(root, group("sys/fs/cgroup", str(GIB), 2 * GIB, 0))
    assert host_free_bytes(root) == 0


def test_a_system_without_proc_still_gets_a_number(tmp_path: Path) -> None:
    assert host_free_bytes(tmp_path) >= GIB // 2


def test_this_machine_has_memory() -> None:
    assert 0 < free_bytes(torch.device("cpu")) < 2**50


@pytest.mark.parametrize("kind", ["cuda", "xpu", "mps"])
def test_the_reserve_of_each_accelerator_is_released(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    released = []
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device(kind))
    monkeypatch.setattr(getattr(torch, kind), "empty_cache", lambda: released.append(kind))
    release_reserve()
    assert released == [kind]
