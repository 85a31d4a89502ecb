import subprocess
import sys
from pathlib import Path

import pytest
import torch

from esc_cli.engine.executors.registry import runtime_named
from esc_cli.engine.memory.footprint import Work
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.registry import VARIANTS

TORCH = runtime_named("torch")
MEASURE = """
import torch
from esc_cli.engine.tiling.streaming import Strips
from esc_cli.networks.architectures.registry import VARIANTS, build_network

def status_bytes(key):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith(key))

torch.set_num_threads(2)
network = build_network(VARIANTS["{name}"](4)).eval()
picture = torch.rand(1, 3, {height}, {width})
before = status_bytes("VmRSS")
with torch.inference_mode():
    if {streamed}:
        strips = Strips(32, 1000, lambda share: None)
        strips.hand_out(network(picture, strips), lambda rows, columns, block: None)
    else:
        network(picture)
print(status_bytes("VmHWM") - before)
"""


def measured_bytes(name: str, height: int, width: int, streamed: bool) -> int:
    program = MEASURE.format(name=name, height=height, width=width, streamed=streamed)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)
    return int(done.stdout)


def work(config: NetworkConfig, height: int, width: int, dtype: torch.dtype, batch: int = 1) -> Work:
    return Work(config, dtype, "sdpa", batch, height, width, TORCH)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads Linux's own account")
@pytest.mark.parametrize("streamed", [False, True])
def test_the_estimate_is_above_what_is_measured(streamed: bool) -> None:
    todo = work(VARIANTS["esc-light"](4), 320, 256, torch.float32)
    estimate = todo.bytes_streamed() if streamed else todo.bytes_whole()
    assert estimate / 3 < measured_bytes("esc-light", 320, 256, streamed) < estimate


@pytest.mark.parametrize("name", VARIANTS)
def test_it_grows_with_the_picture_the_batch_and_the_type(name: str) -> None:
    config = VARIANTS[name](4)
    small = work(config, 128, 128, torch.bfloat16).bytes_whole()
    assert small < work(config, 256, 128, torch.bfloat16).bytes_whole()
    assert small < work(config, 128, 128, torch.bfloat16, batch=2).bytes_whole()
    assert small < work(config, 128, 128, torch.float32).bytes_whole()


def test_a_tile_is_never_larger_than_the_picture() -> None:
    todo = work(VARIANTS["esc"](4), 64, 512, torch.float32)
    assert todo.bytes_in_tiles(512) == todo.bytes_whole() > todo.bytes_in_tiles(128)


def test_a_baseline_needs_little_more_than_its_result() -> None:
    result_bytes = 4000 * 4000 * 3 * 4
    needed = work(InterpolationConfig(4, "bicubic"), 1000, 1000, torch.float32).bytes_whole()
    assert result_bytes < needed < 4 * result_bytes
