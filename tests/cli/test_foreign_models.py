"""The command runs models of other families as it runs ESC."""

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import av
import pytest
import torch
from PIL import Image

Run = Callable[..., Any]
Save = Callable[..., Path]


@pytest.fixture
def model(spandrel: ModuleType) -> Callable[..., Path]:
    """Return a function that writes a small RealESRGAN Compact with random weights."""
    compact = importlib.import_module("spandrel.architectures.Compact").Compact

    def make(**widths: int) -> Path:
        path = Path("theirs.pth")
        torch.save({"params": compact(num_feat=8, num_conv=2, **widths).state_dict()}, path)
        return path

    return make


def test_info_names_the_architecture(run: Run, model: Callable[..., Path]) -> None:
    facts = json.loads(run("models", "info", model(upscale=2), "--json").text)
    assert (facts["network"], facts["scale"]) == ("RealESRGAN Compact", 2)
    assert facts["config"]["tags"] == ["8nf", "2nc"]
    assert "RealESRGAN Compact" in run("models", "info", "theirs.pth").text


@pytest.mark.parametrize("mode", ["RGBA", "L", "P"])
def test_a_picture_keeps_its_kind(run: Run, model: Callable[..., Path], save: Save, mode: str) -> None:
    ended = run(save("a.png", (20, 12), mode), "-m", model(upscale=2), "-d", "cpu", "-o", "b.png")
    assert ended.code == 0, ended.stderr
    with Image.open("b.png") as result:
        assert result.size == (40, 24)
        assert ("A" in result.mode, result.mode == "L") == (mode == "RGBA", mode == "L")


def test_a_model_for_one_keeps_the_size(run: Run, model: Callable[..., Path], save: Save) -> None:
    arguments = ("-m", model(upscale=1, num_in_ch=1, num_out_ch=1), "-d", "cpu", "-o", "b.png")
    assert run(save("a.png", (20, 12)), *arguments).code == 0
    with Image.open("b.png") as result:
        assert (result.size, result.mode) == ((20, 12), "RGB")
    ended = run("a.png", *arguments, "-s", 2)
    assert (ended.code, ended.stderr) == (
        2,
        "esc-upscale: this model does not enlarge, so it cannot make x2.0\n",
    )


def test_scales_are_reached_by_repetition(run: Run, model: Callable[..., Path], save: Save) -> None:
    assert run(save("a.png", (20, 12)), "-m", model(upscale=2), "-s", 3, "-d", "cpu", "-o", "b.png").code == 0
    with Image.open("b.png") as result:
        assert result.size == (60, 36)


def test_clips(run: Run, model: Callable[..., Path], save: Save) -> None:
    with av.open("a.mkv", "w") as clip, Image.open(save("a.png", (32, 16))) as picture:
        stream = clip.add_stream("ffv1", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for _ in range(3):
            clip.mux(stream.encode(av.VideoFrame.from_image(picture)))
        clip.mux(stream.encode())
    ended = run("a.mkv", "-m", model(upscale=2), "-d", "cpu", "-o", "b.mkv")
    assert ended.code == 0, ended.stderr
    with av.open("b.mkv") as clip:
        assert [(frame.width, frame.height) for frame in clip.decode(video=0)] == [(64, 32)] * 3


def test_exact_strips_are_refused(run: Run, model: Callable[..., Path], save: Save) -> None:
    ended = run(save("a.png"), "-m", model(upscale=2), "-d", "cpu", "--tiling", "exact")
    assert ended.code == 2
    assert "the network RealESRGAN Compact cannot run in exact strips" in ended.stderr


def test_the_benchmark_measures_it(run: Run, model: Callable[..., Path]) -> None:
    arguments = ("-m", model(upscale=2), "--size", "16x16", "-d", "cpu", "--runs", 1, "--runtime", "torch")
    lines = [json.loads(line) for line in run("benchmark", *arguments, "--json").text.splitlines()]
    assert any(line.get("multiply_accumulates", 0) is None for line in lines)
