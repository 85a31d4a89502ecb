"""ComfyUI's nodes for ESC: one loads a model, one upscales pictures with it in exact strips.

ComfyUI loads a file in its folder ``custom_nodes`` that holds the line

    from esc_cli.integrations.comfyui import *

ComfyUI's own nodes for upscaling then also load ESC checkpoints, because they use spandrel. Unlike other
modules, this one acts when it is imported, because ComfyUI then reads the names below.

Source: docs.comfy.org, "Custom nodes", sections "Server: properties" and "Images, latents and masks".
"""

import importlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from esc_cli.checkpoints.foreign import is_spandrel_installed
from esc_cli.checkpoints.manifest import DEFAULT_MODEL, read_manifest
from esc_cli.engine.device import Precision
from esc_cli.engine.tiling.choice import Tiling
from esc_cli.enhancement.enlarge import enlarge, share_of
from esc_cli.enhancement.models import Models
from esc_cli.enhancement.options import EnhancementOptions
from esc_cli.errors import WeightsError
from esc_cli.media.metadata.kinds import Metadata
from esc_cli.media.picture import Picture

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]

Inputs = dict[str, dict[str, tuple[Any, ...]]]
"""What a node takes: for "required", each input's type or choices, and its settings, by name."""

_MODEL = "ESC_MODEL"
_FOLDER = "upscale_models"
_COLORS = 3


class LoadModel:
    """Load a shipped model, or a file from ComfyUI's folder of upscaling models."""

    RETURN_TYPES: ClassVar = (_MODEL,)
    FUNCTION: ClassVar = "load"
    CATEGORY: ClassVar = "loaders"
    DESCRIPTION: ClassVar = "Load a shipped ESC model, or a checkpoint from models/upscale_models."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 - ComfyUI's name
        """Return the choices of the node."""
        return {
            "required": {
                "model": ([*_shipped_names(), *_file_names()], {"default": DEFAULT_MODEL}),
                "tiling": (list(get_args(Tiling)), {"default": "auto"}),
                "precision": (list(get_args(Precision)), {"default": "auto"}),
            }
        }

    def load(self, model: str, tiling: Tiling = "auto", precision: Precision = "auto") -> tuple[Models]:
        """Return the model. Its networks are loaded when their scale is asked for.

        Raises:
            WeightsError: The model does not exist, or its file is damaged.
            DeviceError: The device cannot compute in this precision.
        """
        path = model if model in _shipped_names() else _file_path(model)
        options = EnhancementOptions(model=path, device=_device(), tiling=tiling, precision=precision)
        return (Models(options),)


class UpscaleImage:
    """Upscale pictures by any factor."""

    RETURN_TYPES: ClassVar = ("IMAGE",)
    FUNCTION: ClassVar = "upscale"
    CATEGORY: ClassVar = "image/upscaling"
    DESCRIPTION: ClassVar = "Upscale with ESC. Strips give the result of the whole picture in less memory."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802 - ComfyUI's name
        """Return the inputs of the node."""
        scale = {"default": 4.0, "min": 1.0, "max": 16.0, "step": 0.5}
        return {
            "required": {"esc_model": (_MODEL,), "image": ("IMAGE",), "scale": ("FLOAT", scale)},
        }

    def upscale(self, esc_model: Models, image: Tensor, scale: float = 4.0) -> tuple[Tensor]:
        """Upscale pictures one after the other.

        Args:
            esc_model: Result of ``LoadModel``.
            image: (B, H, W, C) in [0, 1], gray, RGB, or RGB with alpha.
            scale: Factor to enlarge by. A factor that no network has is reached by shrinking a larger result.

        Returns:
            (B, scale H, scale W, 3 or 4), float32 in [0, 1], on the CPU.

        Raises:
            UsageError: The scale is out of the model's reach.
            OutOfMemoryError: The device has too little memory.
        """
        size = round(image.shape[1] * scale), round(image.shape[2] * scale)
        upscaler, report = esc_model.upscaler(scale), _reporter()
        results = []
        for number, frame in enumerate(image):
            progress = share_of(report, number, len(image))
            results.append(_frame(enlarge(_picture(frame), upscaler, size, progress=progress).picture))
        return (torch.stack(results),)


def _picture(frame: Tensor) -> Picture:
    planes = frame.detach().cpu().float().clamp(0, 1).movedim(-1, 0)[None]  # (1, C, H, W)
    alpha = planes[:, _COLORS:] if planes.shape[1] > _COLORS else None
    color = planes[:, :_COLORS] if planes.shape[1] >= _COLORS else planes[:, :1].expand(-1, _COLORS, -1, -1)
    return Picture(color, alpha, False, Metadata(), "PNG", depth_bits=32)


def _frame(picture: Picture) -> Tensor:
    planes = picture.color if picture.alpha is None else torch.cat([picture.color, picture.alpha], dim=1)
    return planes[0].movedim(0, -1).contiguous()


def _reporter() -> Callable[[int, int], None]:
    """Return a callback that moves ComfyUI's progress bar, and stops the work if the user says so."""
    utils, management = _comfy("comfy.utils"), _comfy("comfy.model_management")
    bar = utils.ProgressBar(1) if utils else None

    def report(done: int, total: int) -> None:
        if management is not None:
            management.throw_exception_if_processing_interrupted()
        if bar is not None:
            bar.update_absolute(done, total)

    return report


def _device() -> str:
    """Return the device that ComfyUI uses."""
    management = _comfy("comfy.model_management")
    return "auto" if management is None else str(management.get_torch_device())


def _shipped_names() -> list[str]:
    return list(dict.fromkeys(entry.name for entry in read_manifest()))


def _file_names() -> list[str]:
    folders = _comfy("folder_paths")
    return [] if folders is None else list(folders.get_filename_list(_FOLDER))


def _file_path(name: str) -> str:
    folders = _comfy("folder_paths")
    return name if folders is None else str(folders.get_full_path_or_raise(_FOLDER, name))


def _comfy(name: str) -> ModuleType | None:
    """Import a module of ComfyUI, or return None outside of ComfyUI."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


NODE_CLASS_MAPPINGS: Mapping[str, type] = {"ESCLoadModel": LoadModel, "ESCUpscaleImage": UpscaleImage}
NODE_DISPLAY_NAME_MAPPINGS: Mapping[str, str] = {
    "ESCLoadModel": "Load ESC Model",
    "ESCUpscaleImage": "Upscale Image (ESC)",
}

if is_spandrel_installed():
    with suppress(WeightsError):  # spandrel cannot be imported, so ComfyUI's own nodes do not work either
        importlib.import_module("esc_cli.integrations.spandrel").install()
