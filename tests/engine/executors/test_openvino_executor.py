"""OpenVINO gives torch's result for every network and any size, and compiles once for each shape."""

import copy
import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.engine.executors.base import KEPT_SHAPES
from esc_cli.engine.executors.openvino_executor import OpenVinoExecutor
from esc_cli.engine.executors.openvino_graph import obstacle, prepare_for_openvino
from esc_cli.engine.executors.torch_executor import TorchExecutor
from esc_cli.errors import DeviceError, WeightsError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"
)
CPU = torch.device("cpu")
Pictures = Callable[..., Tensor]
TINY = {
    "dim": 16,
    "heads": 1,
    "blocks": 1,
    "mixers": 2,
    "window_size": 8,
    "first_hidden_dim": 16,
    "hidden_dim": 16,
}
NETWORKS: dict[str, NetworkConfig] = {
    "esc": ESCConfig(3, **{**TINY, "dim": 32, "heads": 2}, kernel_size=9, inner_norm=True),
    "esc without attention": ESCConfig(2, **{**TINY, "heads": 0, "window_size": 1}, kernel_size=9),
    "esc-fp": ESCFPConfig(2, **TINY),
    "esc-real": ESCRealConfig(4, **TINY),
    "esc-real-dysample": ESCRealConfig(2, **TINY, head="dysample"),
}


def checkpoint_of(config: NetworkConfig) -> Checkpoint:
    torch.manual_seed(0)
    network = build_network(config).eval()
    for weight in network.parameters():
        if weight.abs().max() == 0:
            nn.init.normal_(weight, std=0.02)
    return Checkpoint(network, config, config.scale, "test", "test", "made by a test", "digest")


def with_weight(checkpoint: Checkpoint, value: float) -> Checkpoint:
    network = copy.deepcopy(checkpoint.network)
    nn.init.constant_(network.to_img.bias, value)
    return replace(checkpoint, network=network)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 16, 24), (2, 21, 50), (1, 5, 3)])
@pytest.mark.parametrize("has_amx", [False, True])
def test_the_prepared_form_is_the_same_network(
    name: str, shape: tuple[int, int, int], has_amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_amx})
    network = checkpoint_of(NETWORKS[name]).network
    prepared = prepare_for_openvino(network, torch.bfloat16)
    low = torch.rand(shape[0], 3, *shape[1:], generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(prepared(low), network(low), rtol=0, atol=1e-5)


@needs_openvino
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_is_that_of_torch(name: str, picture: Pictures) -> None:
    checkpoint = checkpoint_of(NETWORKS[name])
    low = picture(48, 40)  # traced at a smaller size: a window plus the remainder
    with torch.inference_mode():
        high = OpenVinoExecutor(checkpoint, torch.float32)(low)
        expected = TorchExecutor(checkpoint, CPU, torch.float32, "naive")(low)
    assert high.dtype == torch.float32
    torch.testing.assert_close(high, expected, rtol=0, atol=1e-5)


@needs_openvino
@pytest.mark.parametrize("shape", [(2, 16, 24), (1, 27, 50), (2, 5, 3)])
def test_any_size_and_batch(tiny_esc: Checkpoint, picture: Pictures, shape: tuple[int, int, int]) -> None:
    low = picture(*shape[1:], batch=shape[0])
    high = OpenVinoExecutor(tiny_esc, torch.float32)(low)
    with torch.no_grad():
        expected = TorchExecutor(tiny_esc, CPU, torch.float32)(low)
    torch.testing.assert_close(high, expected, rtol=0, atol=1e-5)


@needs_openvino
def test_bfloat16_is_close_and_is_bfloat16(tiny_esc: Checkpoint, picture: Pictures) -> None:
    low = picture(32, 32)
    high, exact = (OpenVinoExecutor(tiny_esc, dtype)(low) for dtype in (torch.bfloat16, torch.float32))
    error = (high - exact).square().mean().sqrt()
    assert 1e-5 < error < 5e-3  # bfloat16 has 8 significant bits


@needs_openvino
def test_shapes_that_come_again_are_compiled_once(tiny_esc: Checkpoint, picture: Pictures) -> None:
    forward = OpenVinoExecutor(tiny_esc, torch.float32)
    first, second, third = (picture(side, 16) for side in (8, 16, 24))
    assert KEPT_SHAPES == 2
    for low in (first, second, first):
        forward(low)
    assert forward.compiled == 2
    forward(third)  # drops the second, the least recently used
    forward(first)
    assert forward.compiled == 3
    forward(second)
    assert forward.compiled == 4


@needs_openvino
def test_a_result_is_the_callers_own(tiny_esc: Checkpoint, picture: Pictures) -> None:
    forward = OpenVinoExecutor(tiny_esc, torch.float32)
    low = picture(16, 16, torch.float32)
    before = low.clone()
    first = forward(low)
    expected = first.clone()
    forward(1 - low)
    assert torch.equal(first, expected)
    assert torch.equal(low, before)


@needs_openvino
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_that_gives_no_numbers_is_called_damaged(
    tiny_esc: Checkpoint, picture: Pictures, dtype: torch.dtype
) -> None:
    forward = OpenVinoExecutor(with_weight(tiny_esc, torch.nan), dtype)
    with pytest.raises(WeightsError, match="'test'"):
        forward(picture(8, 8))


@needs_openvino
def test_the_checkpoint_stays_as_it_was(tiny_esc: Checkpoint, picture: Pictures) -> None:
    before = {key: value.clone() for key, value in tiny_esc.network.state_dict().items()}
    OpenVinoExecutor(tiny_esc, torch.bfloat16)(picture(8, 8))
    after = tiny_esc.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@needs_openvino
def test_it_says_nothing_and_leaves_no_files(
    tiny_esc: Checkpoint,
    picture: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    OpenVinoExecutor(tiny_esc, torch.float32)(picture(8, 8))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@needs_openvino
def test_what_openvino_refuses_is_a_clear_error(tiny_esc: Checkpoint, picture: Pictures) -> None:
    class Odd(nn.Module):
        config = tiny_esc.config

        def forward(self, low: Tensor) -> Tensor:
            return torch.linalg.eigvals(low).real

    forward = OpenVinoExecutor(replace(tiny_esc, network=Odd()), torch.float32)
    with pytest.raises(DeviceError, match="eigvals"):
        forward(picture(8, 8))


@needs_openvino
@pytest.mark.skipif(sys.platform != "linux", reason="threads of a process are read from /proc")
def test_no_thread_is_pinned_to_a_core(picture: Pictures) -> None:
    """Pinned threads of two processes would share one core, so that two workers are as slow as one."""
    executor = OpenVinoExecutor(load_checkpoint("esc-light"), torch.float32)
    low = picture(64, 64)
    executor(low)
    computing = threading.Thread(target=executor, args=(low,))
    computing.start()
    seen = set()
    while computing.is_alive():
        for thread in Path("/proc/self/task").iterdir():
            with suppress(ProcessLookupError):  # it has just ended
                seen.add(frozenset(os.sched_getaffinity(int(thread.name))))
    assert seen == {frozenset(os.sched_getaffinity(0))}


def test_half_precision_is_refused(tiny_esc: Checkpoint) -> None:
    with pytest.raises(DeviceError, match="float16"):
        OpenVinoExecutor(tiny_esc, torch.float16)


@pytest.mark.parametrize(("name", "expected"), [("esc", None), ("esc-xl", "1944 MB"), ("esc-rib", "1280 MB")])
def test_dense_biases_that_are_too_large_are_an_obstacle(name: str, expected: str | None) -> None:
    with torch.device("meta"):
        network = build_network(VARIANTS[name](4))
    problem = obstacle(network)
    assert problem is None if expected is None else expected in str(problem)


def test_baselines_are_left_to_torch() -> None:
    assert "without weights" in str(obstacle(load_checkpoint("nearest").network))


@needs_openvino
def test_it_needs_no_home_and_sends_nothing() -> None:
    """In a container, a user may have neither HOME nor an entry in the list of users."""
    program = (
        "import pwd, socket, sys\n"
        "def absent(*_): raise KeyError('there is no such user')\n"
        "def connect(*_): raise AssertionError('a connection was made')\n"
        "pwd.getpwuid, socket.socket.connect = absent, connect\n"
        "from esc_cli.engine.executors.openvino_graph import openvino\n"
        "print(openvino().Core is not None, 'openvino_telemetry' in sys.modules)\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "CI")}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("True False\n", "", 0)
