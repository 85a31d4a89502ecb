import importlib.util

import pytest
import torch

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.engine.runtime_choice import choose_runtime, worthwhile_px
from esc_cli.errors import DeviceError, UsageError

CPU = torch.device("cpu")
LARGE = 10**12
installed = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="needs the extra openvino"
)


def choose(
    checkpoint: Checkpoint, request: str = "auto", job_px: int = LARGE, dtype: torch.dtype = torch.bfloat16
) -> str:
    return choose_runtime(request, checkpoint.network, CPU, dtype, job_px)


def test_torch_is_always_there(tiny_esc: Checkpoint) -> None:
    assert choose(tiny_esc, "torch") == "torch"


def test_an_unknown_runtime_is_refused(tiny_esc: Checkpoint) -> None:
    with pytest.raises(UsageError, match="no runtime 'onnx'"):
        choose(tiny_esc, "onnx")


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
    enough = worthwhile_px(torch.bfloat16)
    assert choose(tiny_esc, job_px=enough) == "openvino"
    assert choose(tiny_esc, job_px=enough - 1) == "torch"
    assert choose(tiny_esc, job_px=enough, dtype=torch.float32) == "torch"


@installed
def test_openvino_is_for_the_cpu_and_for_networks_with_attention(tiny_esc: Checkpoint) -> None:
    cuda = torch.device("cuda", 0)
    assert choose_runtime("auto", tiny_esc.network, cuda, torch.float32, LARGE) == "torch"
    with pytest.raises(DeviceError, match="not on cuda:0"):
        choose_runtime("openvino", tiny_esc.network, cuda, torch.float32, LARGE)
    assert choose(load_checkpoint("nearest")) == "torch"
    assert choose(tiny_esc, dtype=torch.float16) == "torch"
