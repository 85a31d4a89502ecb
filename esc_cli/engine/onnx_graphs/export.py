"""Export a network as an ONNX file that other programs run, and check it against torch."""

import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.engine.executors.onnx_executor import RUNTIME, new_session
from esc_cli.engine.executors.onnx_providers import Place
from esc_cli.engine.onnx_graphs.graph import INPUT, OPSET
from esc_cli.engine.onnx_graphs.networks import GraphSize, model_of, obstacle
from esc_cli.engine.pixels import dtype_name
from esc_cli.errors import DeviceError, EscError, UsageError, WeightsError
from esc_cli.networks.padding import run_padded
from esc_cli.version import install_hint, made_by

ANY, WINDOWS = "any", "windows"
"""Requests for a free size: any, or multiples of the attention window."""

ALLOWED_ERRORS = {torch.float32: 1e-4, torch.float16: 2e-2}
"""Largest accepted difference from torch, as a share of the largest value.

The shipped models differ by up to 2e-6 in float32 and 9e-4 in float16.
"""

_LARGEST_CHECKED_PX = 2**16
"""Largest fixed size, in pixels, that is checked itself. A larger one takes minutes and gigabytes."""


@dataclass(frozen=True)
class Exported:
    """An exported network.

    Attributes:
        content: Content of the file.
        opset: Version of ONNX's operators.
        precision: Type of the weights, the input and the output.
        size: The sizes of pictures that the file accepts, in words.
        checked: Shape of the pictures that were upscaled by the file and by torch, (N, 3, H, W).
        largest_error: Largest difference between the two results, where 1 is the range of a picture.
    """

    content: bytes
    opset: int
    precision: str
    size: str
    checked: tuple[int, ...]
    largest_error: float


def read_size(text: str) -> GraphSize:
    """Read ``any``, ``windows`` or ``HxW``.

    Raises:
        UsageError: The text has another form.
    """
    if text in (ANY, WINDOWS):
        return GraphSize(pads=text == ANY)
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        hint = f"use {ANY}, {WINDOWS} (multiples of the window), or HEIGHTxWIDTH of the picture to enlarge"
        raise UsageError(f"{text!r} is not a size", hint=hint)
    return GraphSize((int(match[1]), int(match[2])))


def export(checkpoint: Checkpoint, precision: torch.dtype, size: GraphSize) -> Exported:
    """Export a network, and compare the result of the file with that of torch.

    The file maps ``input``, (N, 3, H, W) RGB in [0, 1], to ``output``, (N, 3, scale H, scale W), not clamped,
    both in ``precision``.

    Args:
        checkpoint: The network.
        precision: float32 or float16.
        size: Sizes of pictures that the file accepts.

    Raises:
        DeviceError: The libraries are not installed.
        WeightsError: The network cannot be exported.
        UsageError: The size is too small.
        EscError: The result differs from that of torch.
    """
    problem = obstacle(checkpoint.network)
    if problem is not None:
        raise WeightsError(f"the model {checkpoint.name!r} cannot be exported: {problem}")
    _check_size(size, checkpoint.config.window_size)
    _check_installed()
    model = model_of(checkpoint.network, precision, size)
    words = _in_words(size, checkpoint.config.window_size)
    _describe(model, checkpoint, precision, words)
    content: bytes = model.SerializeToString()
    low, is_itself = _check_picture(checkpoint, size)
    checked = content if is_itself else model_of(checkpoint.network, precision).SerializeToString()
    error = _error(checkpoint, precision, low, checked)
    return Exported(content, OPSET, dtype_name(precision), words, tuple(low.shape), error)


def _check_installed() -> None:
    if not RUNTIME.is_installed:
        raise DeviceError(
            "exporting needs onnx and onnxruntime, which are not installed", hint=install_hint(RUNTIME.name)
        )


def _check_size(size: GraphSize, window_px: int) -> None:
    least_px = _least_side_px(window_px)
    if size.fixed is not None and any(side < least_px and side % window_px for side in size.fixed):
        raise UsageError(
            f"a fixed size must have at least {least_px}x{least_px} pixels",
            hint="smaller pictures cannot be padded to a window by reflection",
        )


def _least_side_px(window_px: int) -> int:
    """Return the shortest side that can be padded to a window by reflecting it once."""
    return window_px // 2 + 1


def _in_words(size: GraphSize, window_px: int) -> str:
    if size.fixed is not None:
        return f"{size.fixed[0]}x{size.fixed[1]}, one picture at a time"
    least_px = _least_side_px(window_px)
    sides = f"any from {least_px}x{least_px}" if size.pads else f"multiples of {window_px}"
    return f"{sides}, any number of pictures"


def _describe(model: Any, checkpoint: Checkpoint, precision: torch.dtype, size: str) -> None:
    """Write what a person or a program must know about the model into the file."""
    from onnx import helper

    scale = checkpoint.config.scale
    entry = next((one for one in read_manifest() if one.sha256 == checkpoint.sha256), None)
    facts = {
        "model": checkpoint.name,
        "network": checkpoint.variant,
        "scale": scale,
        "precision": dtype_name(precision),
        "opset": OPSET,
        "input": "RGB in [0, 1], (N, 3, H, W)",
        "output": f"RGB, about [0, 1] and not clamped, (N, 3, {scale} H, {scale} W)",
        "size": size,
        "window": checkpoint.config.window_size,
        "licence": "that of the checkpoint" if entry is None else entry.licence,
        "training_data": "that of the checkpoint" if entry is None else entry.training_data,
        "weights_sha256": checkpoint.sha256,
        "made_by": made_by(),
    }
    helper.set_model_props(model, {key: str(value) for key, value in facts.items()})


def _check_picture(checkpoint: Checkpoint, size: GraphSize) -> tuple[Tensor, bool]:
    """Return pictures to check with, and whether the exported file can take them.

    If its fixed size is too large, the same graph with a free size is checked in its place.
    """
    window_px = checkpoint.config.window_size
    height, width = max(window_px - 3, 8), max(window_px + 5, 8)
    if not size.pads:
        height, width = window_px, 2 * window_px
    if size.fixed is None:
        return _drawn(2, height, width), True
    if size.fixed[0] * size.fixed[1] <= _LARGEST_CHECKED_PX:
        return _drawn(1, *size.fixed), True
    return _drawn(2, height, width), False


def _drawn(count: int, height: int, width: int) -> Tensor:
    """Draw soft shapes with a little noise, always the same, (N, 3, H, W)."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=random)
    soft = F.interpolate(coarse, (height, width), mode="bilinear")
    return (soft + 0.05 * torch.randn(soft.shape, generator=random)).clamp(0, 1)


def _error(checkpoint: Checkpoint, precision: torch.dtype, low: Tensor, content: bytes) -> float:
    """Return the largest difference from torch in float32.

    Raises:
        EscError: The difference is larger than rounding explains.
    """
    config = checkpoint.config
    with torch.inference_mode():
        expected = run_padded(checkpoint.network, low, config.window_size, config.scale)
    [high] = new_session(content, Place()).run(None, {INPUT: low.to(precision).numpy()})
    error = float((torch.from_numpy(high).float() - expected).abs().max())
    if not error <= ALLOWED_ERRORS[precision] * max(1.0, float(expected.abs().max())):
        raise EscError(
            f"the exported graph differs from torch by {error:.1e}, so it was not written",
            hint="please report it, with the model",
        )
    return error
