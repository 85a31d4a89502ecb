"""One published layout of each family is recognized, and the command gives the network's picture."""

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.cli.main import main
from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import build_network

State = dict[str, Tensor]
SMALL: dict[str, Any] = {"dim": 16, "partial_dim": 8, "heads": 2, "blocks": 1, "mixers": 1, "window_size": 8}


def bare(state: State) -> Any:
    return state


def wrapped(state: State) -> Any:
    """Return a checkpoint as BasicSR writes it after training on several devices."""
    zeros = {key: torch.zeros_like(value) for key, value in state.items()}
    return {"params": zeros, "params_ema": {f"module.{key}": value for key, value in state.items()}}


def lte_project(state: State) -> Any:
    """Return a checkpoint as LTE's code writes it: the network's description, its tensors, training state."""
    head = ("coef.", "freq.", "phase.", "imnet.")
    named = {key if key.startswith(head) else f"encoder.{key}": value for key, value in state.items()}
    model = {
        "name": "lte",
        "args": {"encoder_spec": {"name": "esc", "args": {}}, "hidden_dim": 8},
        "sd": named,
    }
    return {"model": model, "optimizer": {"name": "adam", "sd": {"state": {}}}, "epoch": 1000}


def bare_lte(state: State) -> Any:
    return lte_project(state)["model"]["sd"]


def halved(state: State) -> Any:
    """Return a state dict as converters write it: all tensors in half precision, the head's numbers too."""
    return {key: value.half() for key, value in state.items()}


def real_m(scale: int, head: str, unshuffle: int = 1, **widths: Any) -> ESCRealMConfig:
    grid = {"window_size": 8 * unshuffle, "unshuffle": unshuffle}
    return ESCRealMConfig(scale, head=head, **SMALL | {"head_dim": 12} | grid | widths)  # type: ignore[arg-type]


LAYOUTS: dict[str, tuple[NetworkConfig, str, Callable[[State], Any]]] = {
    "ESC wrapped": (ESCConfig(2, **SMALL), "pth", wrapped),
    "ESC bare": (ESCConfig(3, **SMALL), "pth", bare),
    "ESC safetensors": (ESCConfig(4, **SMALL), "safetensors", bare),
    "ESC-FP": (ESCFPConfig(2, **SMALL), "pth", wrapped),
    "ESC-Real": (ESCRealConfig(4, **SMALL), "pth", wrapped),
    "ESC-Real with DySample": (ESCRealConfig(2, head="dysample", **SMALL), "safetensors", bare),
    "FlashBias": (ESCFlashBiasConfig(2, bias_rank=4, **SMALL), "pth", wrapped),
    "ESC-Real FlashBias": (ESCRealFlashBiasConfig(4, bias_rank=4, **SMALL), "pth", wrapped),
    "ESC-RIB": (ESCRIBConfig(2, **SMALL | {"window_size": 64}), "pth", wrapped),
    "ESCRealM conv": (real_m(1, "conv"), "pth", wrapped),
    "ESCRealM pixelshuffledirect": (real_m(3, "pixelshuffledirect"), "pth", wrapped),
    "ESCRealM pixelshuffle": (real_m(2, "pixelshuffle", 2), "pth", wrapped),
    "ESCRealM nearest+conv": (real_m(4, "nearest+conv"), "pth", wrapped),
    "ESCRealM for x1": (real_m(1, "nearest+conv", 4), "safetensors", halved),
    "ESCRealM dysample": (real_m(2, "dysample"), "pth", wrapped),
    "traiNNer-redux": (real_m(2, "transpose+conv"), "safetensors", bare),
    "traiNNer-redux with DySample": (real_m(3, "dysample", head_dim=16), "safetensors", bare),
    "neosr": (ESCRealConfig(4, head="neosr", **SMALL), "safetensors", bare),
    "neosr x2": (ESCRealConfig(2, head="neosr", **SMALL), "pth", lambda state: {"params": state}),
    "LTE": (LTEConfig(texture_dim=8, decoder_dims=(8, 6), **SMALL), "pth", lte_project),
    "LTE bare": (LTEConfig(texture_dim=8, decoder_dims=(8,), **SMALL), "safetensors", bare_lte),
}


def random_network(config: NetworkConfig) -> nn.Module:
    network = build_network(config).eval()
    for parameter in network.parameters():
        parameter.data = torch.randn_like(parameter) * 0.1
    return network


def write(network: nn.Module, layout: str, folder: Path) -> Path:
    _, suffix, publish = LAYOUTS[layout]
    path = folder / f"model.{suffix}"
    content = publish(network.state_dict())
    if suffix == "pth":
        torch.save(content, path)
    else:
        save_file(content, path)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_command_makes_the_picture_that_the_network_makes(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LAYOUTS[layout][0]
    network = random_network(config)
    path = write(network, layout, tmp_path)
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == config
    assert checkpoint.scale == (None if isinstance(config, LTEConfig) else config.scale)
    pixels = torch.randint(0, 256, (64, 64, 3), dtype=torch.uint8)
    low = pixels.permute(2, 0, 1)[None] / 255
    with torch.inference_mode():
        expected, loaded = network(low), checkpoint.network(low)
    torch.testing.assert_close(loaded, expected, atol=2e-2 if "x1" in layout else 1e-5, rtol=0)
    made = upscaled(pixels.numpy(), path, tmp_path, monkeypatch)
    high = (loaded[0].clamp(0, 1) * 255).permute(1, 2, 0).numpy()
    assert np.abs(made - high).max() < 0.51


def upscaled(
    pixels: Any, model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Run the command in this process."""
    Image.fromarray(pixels).save(folder / "in.png")
    named = [str(folder / "in.png"), "-o", str(folder / "out.png"), "-m", str(model)]
    how = ["--device", "cpu", "--precision", "float32", "--quiet", "--overwrite"]
    monkeypatch.setattr(sys, "argv", ["esc-upscale", *named, *how, *options])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    with Image.open(folder / "out.png") as image:
        return np.asarray(image, dtype=np.float32)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (("-s", "2.5"), (40, 48)),
        (("-s", "1.3"), (21, 25)),
        (("-s", "6"), (96, 114)),
        (("--size", "50x20!"), (20, 50)),
        (("--size", "10x40!"), (40, 10)),
        (("-s", "0.5"), (8, 10)),
    ],
)
def test_a_model_for_any_scale_makes_any_size(
    options: tuple[str, ...], size: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = random_network(LAYOUTS["LTE"][0])
    pixels = np.random.default_rng(0).integers(0, 256, (16, 19, 3), dtype=np.uint8)
    made = upscaled(pixels, write(network, "LTE", tmp_path), tmp_path, monkeypatch, *options)
    assert made.shape == (*size, 3)


def test_a_model_for_x1_keeps_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(random_network(LAYOUTS["ESCRealM for x1"][0]), "ESCRealM for x1", tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (11, 9, 3), dtype=np.uint8)
    made = upscaled(pixels, path, tmp_path, monkeypatch)
    assert made.shape == (11, 9, 3)
    assert not np.array_equal(made, pixels)


@pytest.mark.parametrize(
    ("meta", "named"),
    [
        ([3, 6, 4, 16, 3, 12, 4], "lda"),
        ([3, 7, 4, 16, 3, 12, 4], "pa_up"),
        ([4, 3, 4, 16, 3, 12, 4], "version 4"),
    ],
)
def test_heads_that_cannot_be_built_are_refused_by_name(meta: list[int], named: str, tmp_path: Path) -> None:
    state = build_network(LAYOUTS["ESCRealM nearest+conv"][0]).state_dict()
    state["to_img.MetaUpsample"] = torch.tensor(meta, dtype=torch.uint8)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=f"ESCRealM network with the head '{named}'"):
        load_checkpoint(tmp_path / "odd.safetensors")


@pytest.mark.parametrize(
    "meta", [[2, 2, 5, 16, 3, 12, 4], [2, 9, 4, 16, 3, 12, 4], [2, 3, 4], [2, 3, 2, 16, 3, 12, 4]]
)
def test_heads_that_contradict_their_tensors_are_refused(meta: list[int], tmp_path: Path) -> None:
    state = build_network(LAYOUTS["ESCRealM nearest+conv"][0]).state_dict()
    state["to_img.MetaUpsample"] = torch.tensor(meta, dtype=torch.uint8)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="fit"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_what_shrinks_pictures_is_loaded_but_not_run(tmp_path: Path) -> None:
    from esc_cli.engine.upscaler import Upscaler

    save_file(build_network(real_m(1, "conv", 4)).state_dict(), tmp_path / "odd.safetensors")
    checkpoint = load_checkpoint(tmp_path / "odd.safetensors")
    assert dataclasses.replace(checkpoint.config, unshuffle=1, window_size=8) == real_m(1, "conv")
    with pytest.raises(WeightsError, match="4 times smaller"):
        Upscaler(checkpoint, device="cpu")
