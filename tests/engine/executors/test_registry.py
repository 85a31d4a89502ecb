"""Every runtime implements the whole interface, and a job gets the runtime that saves the most time."""

import importlib.util

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.engine.executors import torch_executor
from esc_cli.engine.executors.base import Demands, Executor, Runtime
from esc_cli.engine.executors.openvino_executor import (
    MEASURED_THREADS,
    SAVED_S_PER_PX,
    SAVED_S_PER_PX_WITHOUT_ATTENTION,
    START_S,
    START_S_WITHOUT_ATTENTION,
)
from esc_cli.engine.executors.registry import MODULES, choose_runtime, runtime_named
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import DeviceError, UsageError

CPU = torch.device("cpu")
LARGE = 10**12
installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"
)


def choose(
    checkpoint: Checkpoint, request: str = "auto", job_px: int = LARGE, dtype: torch.dtype = torch.bfloat16
) -> str:
    return choose_runtime(request, checkpoint.network, CPU, dtype, job_px).name


@pytest.mark.parametrize("name", MODULES)
def test_each_runtime_answers_every_question(tiny_esc: Checkpoint, name: str) -> None:
    runtime = runtime_named(name)
    assert runtime.name == name
    assert runtime.fixed_bytes > 0
    assert runtime.runs_on(CPU)
    assert runtime.missing(Demands()) is None
    asked = runtime.missing(Demands(strips=True))
    assert (asked is None) == runtime.streams
    if not runtime.is_installed:
        return
    assert runtime.obstacle(tiny_esc.network, CPU, torch.float32) is None
    assert runtime.saved_s(tiny_esc.network, torch.float32, LARGE) >= runtime.saved_s(
        tiny_esc.network, torch.float32, 1
    )
    low = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        executor = runtime.executor(tiny_esc, CPU, torch.float32, "sdpa")
        expected = runtime_named("torch").executor(tiny_esc, CPU, torch.float32, "naive")(low)
        torch.testing.assert_close(executor(low), expected, rtol=0, atol=1e-5)
    assert (executor.runtime, executor.device, executor.dtype) == (runtime, CPU, torch.float32)
    assert executor.config == tiny_esc.config


def test_an_unknown_runtime_is_refused(tiny_esc: Checkpoint) -> None:
    with pytest.raises(UsageError, match="no runtime 'ncnn'"):
        choose(tiny_esc, "ncnn")


@pytest.mark.parametrize("job_px", [1, LARGE])
def test_auto_never_takes_onnx_runtime(tiny_esc: Checkpoint, job_px: int) -> None:
    chosen = choose_runtime(
        "auto", tiny_esc.network, CPU, torch.float32, job_px, suits=lambda runtime: runtime.name == "onnx"
    )
    assert chosen.name == "torch"


@pytest.fixture
def not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


@pytest.mark.usefixtures("not_installed")
def test_without_openvino_auto_is_torch_and_asking_for_it_says_how_to_get_it(tiny_esc: Checkpoint) -> None:
    assert choose(tiny_esc) == "torch"
    with pytest.raises(DeviceError, match="not installed") as caught:
        choose(tiny_esc, "openvino")
    assert "esc-upscale[openvino]" in str(caught.value.hint)


@installed
def test_what_is_asked_for_is_used_however_small_the_job(tiny_esc: Checkpoint) -> None:
    assert choose(tiny_esc, "openvino", 1) == "openvino"


@installed
def test_auto_takes_openvino_from_the_size_on_that_pays(tiny_esc: Checkpoint) -> None:
    enough = int(START_S / SAVED_S_PER_PX[torch.bfloat16] * torch.get_num_threads() / MEASURED_THREADS) + 1
    assert choose(tiny_esc, job_px=enough) == "openvino"
    assert choose(tiny_esc, job_px=enough - 1) == "torch"
    assert choose(tiny_esc, job_px=enough, dtype=torch.float32) == "torch"


@installed
def test_without_attention_openvino_pays_later() -> None:
    tiny = load_checkpoint("esc-tiny")
    saved_s, start_s = SAVED_S_PER_PX_WITHOUT_ATTENTION[torch.float32], START_S_WITHOUT_ATTENTION
    enough = int(start_s / saved_s * torch.get_num_threads() / MEASURED_THREADS) + 1
    assert choose(tiny, job_px=enough, dtype=torch.float32) == "openvino"
    assert choose(tiny, job_px=enough - 1, dtype=torch.float32) == "torch"


@installed
def test_openvino_is_for_the_cpu_and_for_networks_with_weights(tiny_esc: Checkpoint) -> None:
    cuda = torch.device("cuda", 0)
    assert choose_runtime("auto", tiny_esc.network, cuda, torch.float32, LARGE).name == "torch"
    with pytest.raises(DeviceError, match="not on cuda:0"):
        choose_runtime("openvino", tiny_esc.network, cuda, torch.float32, LARGE)
    assert choose(load_checkpoint("nearest")) == "torch"
    assert choose(tiny_esc, dtype=torch.float16) == "torch"


class Toy(torch_executor.TorchRuntime):
    """A runtime added by a user. It claims to save years, and it has none of the optional features."""

    name = "toy"
    title = "The toy"
    streams = shares_statistics = does_any_scale = has_attention_backends = False

    def obstacle(  # type: ignore[override]
        self, network: nn.Module, device: torch.device, dtype: torch.dtype
    ) -> str | None:
        return None if dtype == torch.float32 else "it computes in float32"

    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        return 1e9

    def executor(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, attention: str
    ) -> Executor:
        return ToyExecutor(self, checkpoint)


class ToyExecutor(Executor):
    def __init__(self, runtime: Runtime, checkpoint: Checkpoint) -> None:
        self.runtime, self.config, self.device = runtime, checkpoint.config, CPU
        self.dtype, self.attention = torch.float32, "its own"
        self._network: nn.Module = checkpoint.network

    def __call__(self, picture: Tensor, grid: object = None, statistics: object = None) -> Tensor:
        assert grid is None
        assert statistics is None
        return self._network(picture / 255).clone()  # type: ignore[no-any-return]


RUNTIME = Toy()


def test_a_new_runtime_needs_its_module_and_one_line(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODULES, "toy", __name__)
    assert choose(tiny_esc, dtype=torch.float32) == "toy"
    low = torch.randint(0, 256, (1, 3, 40, 72), dtype=torch.uint8)
    upscaler = Upscaler(tiny_esc, device="cpu", runtime="toy")
    assert upscaler.precision == torch.float32
    whole = upscaler.run(low)
    assert "at once by The toy" in whole.ways[0]
    exact = Upscaler(tiny_esc, device="cpu", precision="float32", runtime="torch")(low)
    assert (whole.high.int() - exact.int()).abs().max() <= 1
    tiles = Upscaler(tiny_esc, device="cpu", runtime="toy", tile_px=32, overlap_px=8).run(low)
    assert "tiles of 32 pixels that overlap by The toy" in tiles.ways[0]
    with pytest.raises(DeviceError, match="it computes in float32"):
        Upscaler(tiny_esc, device="cpu", runtime="toy", precision="bfloat16")
    with pytest.raises(UsageError, match="The toy cannot run a picture in exact strips"):
        Upscaler(tiny_esc, device="cpu", runtime="toy", tiling="exact")
