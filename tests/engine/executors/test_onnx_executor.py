"""ONNX Runtime gives torch's result for every network, and says clearly what it cannot do."""

import copy
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.engine.executors import onnx_providers
from esc_cli.engine.executors.onnx_executor import RUNTIME, OnnxExecutor
from esc_cli.engine.executors.onnx_providers import CPU, PROVIDERS
from esc_cli.engine.executors.torch_executor import TorchExecutor
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import DeviceError, WeightsError
from esc_cli.networks.architectures.registry import VARIANTS, build_network

needs_onnx = pytest.mark.skipif(not RUNTIME.is_installed, reason="needs the extra onnx")
ON_CPU = torch.device("cpu")
Pictures = Callable[..., Tensor]


def with_weight(checkpoint: Checkpoint, value: float) -> Checkpoint:
    network = copy.deepcopy(checkpoint.network)
    nn.init.constant_(network.to_img.bias, value)
    return replace(checkpoint, network=network)


@needs_onnx
@pytest.mark.parametrize("shape", [(2, 16, 24), (1, 8, 8), (1, 32, 48)])
def test_float32_is_that_of_torch(
    tiny_esc: Checkpoint, picture: Pictures, shape: tuple[int, int, int]
) -> None:
    low = picture(*shape[1:], batch=shape[0])
    high = OnnxExecutor(tiny_esc, torch.float32, RUNTIME)(low)
    with torch.inference_mode():
        expected = TorchExecutor(tiny_esc, ON_CPU, torch.float32, "naive")(low)
    assert high.dtype == torch.float32
    torch.testing.assert_close(high, expected, rtol=0, atol=1e-5)


@needs_onnx
def test_float16_is_close_and_is_float16(tiny_esc: Checkpoint, picture: Pictures) -> None:
    low = picture(32, 32)
    high, exact = (OnnxExecutor(tiny_esc, dtype, RUNTIME)(low) for dtype in (torch.float16, torch.float32))
    assert high.dtype == torch.float32
    error = (high - exact).square().mean().sqrt()
    assert 1e-5 < error < 2e-3


@needs_onnx
def test_what_overflows_in_half_precision_is_done_again_in_float32(
    tiny_esc: Checkpoint, picture: Pictures
) -> None:
    tiny_esc = with_weight(tiny_esc, 1e5)
    low = picture(8, 8)
    half = OnnxExecutor(tiny_esc, torch.float16, RUNTIME)
    full = OnnxExecutor(tiny_esc, torch.float32, RUNTIME)
    assert torch.equal(half(low), full(low))
    assert (half.overflow_retries, full.overflow_retries) == (1, 0)


@needs_onnx
def test_a_model_that_gives_no_numbers_is_called_damaged(tiny_esc: Checkpoint, picture: Pictures) -> None:
    with pytest.raises(WeightsError, match="'test'"):
        OnnxExecutor(with_weight(tiny_esc, torch.nan), torch.float32, RUNTIME)(picture(8, 8))


@needs_onnx
def test_a_result_is_the_callers_own(tiny_esc: Checkpoint, picture: Pictures) -> None:
    forward = OnnxExecutor(tiny_esc, torch.float32, RUNTIME)
    low = picture(16, 16, torch.float32)
    before = low.clone()
    first = forward(low)
    expected = first.clone()
    forward(1 - low).zero_()
    assert torch.equal(first, expected)
    assert torch.equal(low, before)


@needs_onnx
def test_it_says_nothing_and_leaves_no_files(
    tiny_esc: Checkpoint,
    picture: Pictures,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    OnnxExecutor(tiny_esc, torch.float32, RUNTIME)(picture(8, 8))
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@needs_onnx
def test_what_fails_is_a_clear_error(tiny_esc: Checkpoint, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DeviceError, match="ONNX Runtime failed: "):
        OnnxExecutor(tiny_esc, torch.float32, RUNTIME)(torch.rand(1, 3, 9, 8))  # not a whole window
    assert capfd.readouterr() == ("", "")


@needs_onnx
def test_an_upscaler_runs_whole_pictures_and_tiles(tiny_esc: Checkpoint, picture: Pictures) -> None:
    low = picture(37, 70)
    expected = Upscaler(tiny_esc, device="cpu", precision="float32", runtime="torch")(low)
    upscaler = Upscaler(tiny_esc, device="auto", runtime="onnx")
    whole = upscaler.run(low)
    assert (upscaler.device_name, upscaler.precision) == ("cpu", torch.float32)
    assert "the whole picture at once by ONNX Runtime" in whole.ways[0]
    assert (whole.high.int() - expected.int()).abs().max() <= 1
    tiles = Upscaler(tiny_esc, device="cpu", runtime="onnx", tile_px=32, overlap_px=8).run(low)
    assert "tiles of 32 pixels that overlap by ONNX Runtime" in tiles.ways[0]


class Device:
    """A fake ONNX Runtime of a machine with accelerators, which may lack memory or a driver."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
        self.library = importlib.import_module("onnxruntime")
        self.names = [one.library_name for one in PROVIDERS if one.name in names]
        self.works, self.largest_px = True, 10**9
        self.asked: list[Any] = []
        self.session = self.library.InferenceSession
        monkeypatch.setattr(self.library, "get_available_providers", lambda: self.names)
        monkeypatch.setattr(self.library, "InferenceSession", self.new_session)

    def new_session(self, model: bytes, options: Any, providers: list[Any]) -> "Device":
        self.asked.append(providers[0])
        self.real = self.session(model, options, providers=[CPU.library_name])
        return self

    def get_providers(self) -> list[str]:
        return self.names if self.works else [CPU.library_name]

    def run(self, outputs: None, inputs: dict[str, Any]) -> Any:
        if inputs["input"][0, 0].size > self.largest_px:
            raise RuntimeError(
                "[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer"
            )
        return self.real.run(outputs, inputs)


@needs_onnx
@pytest.mark.parametrize(
    ("request_", "name", "asked"),
    [
        ("auto", "directml:0", ("DmlExecutionProvider", {"device_id": "0"})),
        ("dml:1", "directml:1", ("DmlExecutionProvider", {"device_id": "1"})),
        ("tensorrt", "tensorrt:0", ("TensorrtExecutionProvider", {"device_id": "0"})),
        ("mps", "coreml", ("CoreMLExecutionProvider", {})),
        ("cpu", "cpu", ("CPUExecutionProvider", {})),
    ],
)
def test_a_device_is_named_as_the_user_names_it(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch, request_: str, name: str, asked: tuple[str, Any]
) -> None:
    device = Device(monkeypatch, "tensorrt", "directml", "coreml", "cpu")
    upscaler = Upscaler(tiny_esc, device=request_, runtime="onnx")
    assert (upscaler.device_name, upscaler.device) == (name, ON_CPU)
    assert name in repr(upscaler)
    upscaler(torch.rand(1, 3, 16, 16))
    assert device.asked == [asked]


@needs_onnx
def test_smaller_tiles_follow_when_the_memory_of_an_accelerator_runs_out(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch, picture: Pictures
) -> None:
    device = Device(monkeypatch, "cuda", "cpu")
    device.largest_px = 64 * 64
    low = picture(80, 120)
    made = Upscaler(tiny_esc, device="cuda", runtime="onnx").run(low)
    assert "tiles" in made.ways[0]
    assert made.high.shape == (1, 3, 160, 240)


@needs_onnx
def test_an_accelerator_without_its_driver_is_refused(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch, picture: Pictures
) -> None:
    Device(monkeypatch, "cuda", "cpu").works = False
    with pytest.raises(DeviceError, match="cannot use CUDA here"):
        Upscaler(tiny_esc, device="cuda", runtime="onnx")(picture(8, 8))


@needs_onnx
@pytest.mark.parametrize("name", ["tpu", "cuda", "directml:x", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(tiny_esc: Checkpoint, name: str) -> None:
    with pytest.raises(DeviceError, match="ONNX Runtime has no device") as caught:
        Upscaler(tiny_esc, device=name, runtime="onnx")
    assert "choose one of cpu" in str(caught.value.hint)


@pytest.mark.parametrize(("name", "expected"), [("esc", None), ("esc-xl", "1944 MB"), ("esc-lte", "pixel")])
def test_obstacles(name: str, expected: str | None) -> None:
    with torch.device("meta"):
        network = build_network(VARIANTS[name](4))
    problem = RUNTIME.obstacle(network, ON_CPU, torch.float32)
    assert problem is None if expected is None else expected in str(problem)
    assert "bfloat16" in str(RUNTIME.obstacle(network, ON_CPU, torch.bfloat16))
    assert "on the CPU" in str(RUNTIME.obstacle(network, ON_CPU, torch.float16))


@needs_onnx
def test_half_precision_is_for_accelerators(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch, picture: Pictures
) -> None:
    with pytest.raises(DeviceError, match="on the CPU"):
        Upscaler(tiny_esc, device="cpu", runtime="onnx", precision="float16")
    Device(monkeypatch, "cuda", "cpu")
    upscaler = Upscaler(tiny_esc, device="cuda", runtime="onnx", precision="float16")
    assert upscaler(picture(16, 16)).shape == (1, 3, 32, 32)
    assert (upscaler.device_name, upscaler.precision) == ("cuda:0", torch.float16)


def test_baselines_are_left_to_torch() -> None:
    assert RUNTIME.obstacle(load_checkpoint("nearest").network, ON_CPU, torch.float32) is not None


@needs_onnx
def test_the_telemetry_leaves_nothing_in_the_home(tmp_path: Path) -> None:
    hidden = {"HOME", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY"}
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", f"from {onnx_providers.__name__} import onnxruntime; onnxruntime()"],
        capture_output=True,
        check=False,
        env={**variables, "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert list(tmp_path.rglob("*")) == []
