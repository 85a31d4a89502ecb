import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from esc_cli.engine.executors.onnx_executor import RUNTIME

Run = Callable[..., Any]
needs_onnx = pytest.mark.skipif(not RUNTIME.is_installed, reason="needs the extra onnx")


@needs_onnx
def test_the_file_gives_the_result_of_the_program(
    run: Run, checkpoint: Path, save: Callable[..., Path], load: Callable[..., Image.Image]
) -> None:
    import onnxruntime

    ended = run("export", "out.onnx", "-m", checkpoint)
    assert (ended.code, ended.stderr) == (0, "")
    first, second, third = ended.text.splitlines()
    assert first.startswith(f"{checkpoint.name} x2: ONNX opset 17, float32, 0.")
    assert second == "size of the input: any from 9x9, any number of pictures"
    assert third.startswith("largest difference from torch on 2x3x13x21: ")
    save("in.png", size=(37, 21))
    assert run("in.png", "-m", checkpoint, "-p", "float32", "-o", "high.png").code == 0
    low = np.asarray(load("in.png"), np.float32).transpose(2, 0, 1)[None] / 255
    [high] = onnxruntime.InferenceSession("out.onnx").run(["output"], {"input": low})
    expected = np.asarray(load("high.png"), np.float32).transpose(2, 0, 1)[None]
    assert np.abs(high.clip(0, 1) * 255 - expected).max() <= 0.51  # the program rounds


@needs_onnx
def test_what_a_script_is_told(run: Run, checkpoint: Path) -> None:
    arguments = ("export", "out.onnx", "-m", checkpoint, "-p", "float16", "--size", "20x30")
    facts = json.loads(run(*arguments, "--json").text)
    assert facts.pop("largest_error") < 5e-3
    assert facts == {
        "version": 2,
        "event": "export",
        "model": checkpoint.name,
        "scale": 2,
        "file": "out.onnx",
        "bytes": Path("out.onnx").stat().st_size,
        "opset": 17,
        "precision": "float16",
        "size": "20x30, one picture at a time",
        "checked": [1, 3, 20, 30],
    }
    ended = run(*arguments)
    assert (ended.code, ended.stderr.splitlines()[0]) == (6, "esc-upscale: 'out.onnx' already exists")
    assert run(*arguments, "--overwrite").code == 0


@needs_onnx
def test_pictures_are_upscaled_by_onnx_runtime(
    run: Run, checkpoint: Path, save: Callable[..., Path], load: Callable[..., Image.Image]
) -> None:
    save("in.png", size=(37, 21))
    options = ("-m", checkpoint, "-s", 2, "-p", "float32", "-d", "cpu")
    assert run("in.png", *options, "--runtime", "torch", "-o", "torch.png").code == 0
    ended = run("in.png", *options, "--runtime", "onnx", "-v", "-o", "onnx.png")
    assert ended.code == 0
    assert f"{checkpoint.name} x2 on cpu in float32\n  cpu: asked for\n" in ended.stderr
    assert "the whole picture at once by ONNX Runtime" in ended.stderr
    by_torch, by_onnx = (np.asarray(load(f"{name}.png"), int) for name in ("torch", "onnx"))
    assert np.abs(by_torch - by_onnx).max() <= 1
    ended = run("in.png", "-m", checkpoint, "--runtime", "onnx", "-d", "tpu")
    assert ended.code == 5
    assert "ONNX Runtime has no device 'tpu' here" in ended.stderr
