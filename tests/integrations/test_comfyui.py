"""The nodes keep ComfyUI's conventions. ComfyUI itself is replaced by the few functions that nodes call."""

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.engine.upscaler import Upscaler
from esc_cli.errors import UsageError, WeightsError
from esc_cli.integrations import comfyui
from esc_cli.integrations.comfyui import LoadModel, UpscaleImage
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network

SMALL = ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8)


class InterruptedByUserError(Exception):
    """Stands for ComfyUI's own exception."""


@dataclass
class Comfy:
    """The state of a replaced ComfyUI."""

    folder: Path
    seen: list[tuple[int, int]] = field(default_factory=list)
    interrupted: bool = False

    def throw_exception_if_processing_interrupted(self) -> None:
        if self.interrupted:
            raise InterruptedByUserError

    def progress_bar(self, total: int) -> SimpleNamespace:
        return SimpleNamespace(update_absolute=lambda value, total=None: self.seen.append((value, total)))

    def modules(self) -> dict[str, ModuleType]:
        utils, management, folders = (
            ModuleType(name) for name in ("comfy.utils", "comfy.model_management", "folder_paths")
        )
        utils.ProgressBar = self.progress_bar
        management.get_torch_device = lambda: torch.device("cpu")
        management.throw_exception_if_processing_interrupted = self.throw_exception_if_processing_interrupted
        folders.get_filename_list = lambda kind: sorted(path.name for path in self.folder.iterdir())
        folders.get_full_path_or_raise = lambda kind, name: str(self.folder / name)
        return {"comfy": ModuleType("comfy")} | {one.__name__: one for one in (utils, management, folders)}


@pytest.fixture
def comfy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Comfy:
    comfy = Comfy(tmp_path)
    for name, module in comfy.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    save_file(build_network(SMALL).state_dict(), tmp_path / "mine.safetensors")
    return comfy


@pytest.mark.parametrize("node", comfyui.NODE_CLASS_MAPPINGS.values())
def test_nodes_describe_themselves(comfy: Comfy, node: Any) -> None:
    inputs = node.INPUT_TYPES()
    assert set(inputs) <= {"required", "optional", "hidden"}
    for kind, *_ in inputs["required"].values():
        assert isinstance(kind, (str, list))
    assert isinstance(node.RETURN_TYPES, tuple)
    assert isinstance(node.CATEGORY, str)
    assert callable(getattr(node(), node.FUNCTION))
    assert set(comfyui.NODE_DISPLAY_NAME_MAPPINGS) == set(comfyui.NODE_CLASS_MAPPINGS)


def test_shipped_models_and_files_are_offered(comfy: Comfy) -> None:
    names, settings = LoadModel.INPUT_TYPES()["required"]["model"]
    assert {entry.name for entry in read_manifest()} < set(names)
    assert "mine.safetensors" in names
    assert settings["default"] in names


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_upscaled_as_by_the_engine(comfy: Comfy, channels: int) -> None:
    (model,) = LoadModel().load("mine.safetensors", tiling="exact")
    image = torch.rand(2, 12, 20, channels)
    before = image.clone()
    (high,) = UpscaleImage().upscale(esc_model=model, image=image, scale=2.0)
    assert (high.shape, high.dtype, high.device.type) == ((2, 24, 40, max(3, channels)), torch.float32, "cpu")
    assert torch.equal(image, before)
    color = image[..., :3].expand(-1, -1, -1, 3).movedim(-1, 1)
    if channels < 4:  # colors under transparent pixels are changed first
        upscaler = Upscaler(comfy.folder / "mine.safetensors", device="cpu", tiling="exact")
        torch.testing.assert_close(high.movedim(-1, 1), torch.cat([upscaler(one[None]) for one in color]))


def test_progress_covers_all_pictures(comfy: Comfy) -> None:
    (model,) = LoadModel().load("mine.safetensors")
    UpscaleImage().upscale(model, torch.rand(3, 8, 8, 3), 2.0)
    shares = [done / total for done, total in comfy.seen]
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_user_can_interrupt(comfy: Comfy) -> None:
    (model,) = LoadModel().load("mine.safetensors")
    comfy.interrupted = True
    with pytest.raises(InterruptedByUserError):
        UpscaleImage().upscale(model, torch.rand(1, 8, 8, 3), 2.0)


@pytest.mark.parametrize(("scale", "size"), [(1.0, (9, 11)), (1.5, (14, 16)), (4.0, (36, 44))])
def test_any_scale(comfy: Comfy, scale: float, size: tuple[int, int]) -> None:
    (model,) = LoadModel().load("mine.safetensors")
    (high,) = UpscaleImage().upscale(model, torch.rand(1, 9, 11, 3), scale)
    assert tuple(high.shape[1:3]) == size
    assert 0 <= float(high.min()) <= float(high.max()) <= 1


def test_errors_are_sentences(comfy: Comfy) -> None:
    save_file({"unknown": torch.zeros(1)}, comfy.folder / "odd.safetensors")
    with pytest.raises(WeightsError, match="ESC network"):
        LoadModel().load("odd.safetensors")
    with pytest.raises(UsageError, match="no tiling"):
        UpscaleImage().upscale(
            LoadModel().load("mine.safetensors", tiling="none ")[0], torch.rand(1, 8, 8, 3)
        )


def test_a_file_with_one_line_is_a_node_pack(tmp_path: Path) -> None:
    """ComfyUI runs each file of ``custom_nodes`` as a module and takes its mappings."""
    path = tmp_path / "esc_upscale.py"
    path.write_text("from esc_cli.integrations.comfyui import *\n")
    spec = importlib.util.spec_from_file_location("esc_upscale", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert set(module.NODE_CLASS_MAPPINGS) == {"ESCLoadModel", "ESCUpscaleImage"}


def test_comfyuis_own_loader_takes_esc(spandrel: ModuleType, comfy: Comfy) -> None:
    descriptor = spandrel.ModelLoader().load_from_file(comfy.folder / "mine.safetensors")
    assert (descriptor.architecture.id, descriptor.scale) == ("ESC", 2)
