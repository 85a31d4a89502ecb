"""An exported file says what it holds, and is published only if it agrees with torch."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.engine.executors.onnx_executor import RUNTIME
from esc_cli.engine.onnx_graphs.export import ALLOWED_ERRORS, export, read_size
from esc_cli.engine.onnx_graphs.networks import GraphSize
from esc_cli.errors import DeviceError, EscError, UsageError, WeightsError

needs_onnx = pytest.mark.skipif(not RUNTIME.is_installed, reason="needs the extra onnx")


@needs_onnx
def test_a_shipped_model_carries_its_license_and_what_it_needs() -> None:
    import onnx

    made = export(load_checkpoint("esc-light", 2), torch.float32, GraphSize())
    model = onnx.load_from_string(made.content)
    facts = {one.key: one.value for one in model.metadata_props}
    entry = next(one for one in read_manifest() if (one.name, one.scale) == ("esc-light", 2))
    assert (facts["model"], facts["scale"], facts["licence"]) == ("esc-light", "2", entry.licence)
    assert (facts["size"], facts["window"]) == ("any from 17x17, any number of pictures", "32")
    assert (facts["precision"], facts["opset"]) == ("float32", "17")
    assert facts["weights_sha256"] == entry.sha256
    assert 0 < made.largest_error < 1e-5
    assert made.checked == (2, 3, 29, 37)


@needs_onnx
@pytest.mark.parametrize("precision", ALLOWED_ERRORS, ids=str)
@pytest.mark.parametrize(
    ("text", "checked"), [("any", (2, 3, 8, 13)), ("windows", (2, 3, 8, 16)), ("9x30", (1, 3, 9, 30))]
)
def test_each_size_is_checked(
    tiny_esc: Checkpoint, text: str, checked: tuple[int, ...], precision: torch.dtype
) -> None:
    made = export(tiny_esc, precision, read_size(text))
    assert made.checked == checked
    assert made.largest_error < ALLOWED_ERRORS[precision]


@needs_onnx
def test_a_large_fixed_size_is_checked_at_a_small_one(tiny_esc: Checkpoint) -> None:
    made = export(tiny_esc, torch.float32, GraphSize((1080, 1920)))
    assert made.size == "1080x1920, one picture at a time"
    assert made.checked == (2, 3, 8, 13)


@needs_onnx
def test_a_graph_that_differs_from_torch_is_not_published(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    library: Any = importlib.import_module("onnxruntime")
    run: Callable[..., list[Any]] = library.InferenceSession.run

    def one_wrong_value(self: Any, *arguments: Any) -> list[Any]:
        [high] = run(self, *arguments)
        high[0, 0, 0, 0] += 0.01
        return [high]

    monkeypatch.setattr(library.InferenceSession, "run", one_wrong_value)
    with pytest.raises(EscError, match=r"differs from torch by 1\.0e-02"):
        export(tiny_esc, torch.float32, GraphSize())


@needs_onnx
def test_what_cannot_be_exported_is_refused() -> None:
    with pytest.raises(WeightsError, match="'nearest' cannot be exported: it is not one of ESC's networks"):
        export(load_checkpoint("nearest"), torch.float32, GraphSize())
    with pytest.raises(UsageError, match="at least 17x17"):
        export(load_checkpoint("esc-light", 2), torch.float32, GraphSize((16, 64)))


def test_without_the_libraries_the_way_to_get_them_is_said(
    tiny_esc: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="not installed") as caught:
        export(tiny_esc, torch.float32, GraphSize())
    assert caught.value.hint == 'pip install "esc-upscale[onnx]"'


@pytest.mark.parametrize("text", ["", "3", "0x4", "axb", "Any", "4x4x4"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is not a size"):
        read_size(text)


def test_sizes() -> None:
    assert read_size("any") == GraphSize(None, pads=True)
    assert read_size("windows") == GraphSize(None, pads=False)
    assert read_size("720x1280") == GraphSize((720, 1280))
