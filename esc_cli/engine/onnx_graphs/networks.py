"""Write whole networks as ONNX graphs, for pictures of any size or of one size."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from esc_cli.engine.onnx_graphs.blocks import block
from esc_cli.engine.onnx_graphs.graph import INPUT, Graph, Operand, Value
from esc_cli.engine.onnx_graphs.layers import (
    convolution,
    enlarged,
    enlarged_bicubic,
    layer,
    pixel_shuffle,
    pixel_unshuffle,
)
from esc_cli.engine.onnx_graphs.mixers import Shared, can_mix
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESC
from esc_cli.networks.architectures.esc_fp import ESCFP
from esc_cli.networks.architectures.esc_real import SKIP_REACH_PX, ESCReal, RealBody
from esc_cli.networks.architectures.esc_real_m import ESCRealM
from esc_cli.networks.architectures.esc_rib import ESCRIB
from esc_cli.networks.architectures.lte import LTE
from esc_cli.networks.folding import fold_pointwise
from esc_cli.networks.mixers.base import Mixer
from esc_cli.networks.mixers.convolutional import average_over_symmetries


def esc(graph: Graph, network: ESC, low: Value) -> Value:
    """Write ESC, and its variants with factors as bias."""
    own = network.plk_filter
    shared = () if own is None else (graph.constant(average_over_symmetries(own), "large_kernel"),)
    shallow, features = _run_blocks(graph, network, low, shared)
    residual = graph.node("Add", layer(graph, network.last, features), shallow)
    head = network.upsampler["up_conv"] if isinstance(network, ESCRIB) else network.to_img
    high = pixel_shuffle(graph, layer(graph, head, residual), network.config.scale)
    return graph.node("Add", high, enlarged(graph, low, network.config.scale))


def esc_fp(graph: Graph, network: ESCFP, low: Value) -> Value:
    """Write ESC-FP."""
    shared = (
        graph.constant(network.lk_channel, "large_kernel.channels"),
        graph.constant(network.lk_spatial, "large_kernel"),
    )
    shallow, features = _run_blocks(graph, network, low, shared)
    last = convolution(graph, network.last, layer(graph, network.ln_last, features))
    residual = convolution(graph, network.to_img, graph.node("Add", last, shallow))
    high = pixel_shuffle(graph, residual, network.config.scale)
    return graph.node("Add", high, enlarged_bicubic(graph, low, network.config.scale))


def esc_real(graph: Graph, network: ESCReal | ESCRealM, low: Value) -> Value:
    """Write ESC-Real or ESCRealM."""
    factor = network.config.body_factor
    picture = low if factor == 1 else pixel_unshuffle(graph, low, factor)
    shared = (graph.constant(average_over_symmetries(network.plk_filter), "large_kernel"),)
    shallow, features = _run_blocks(graph, network, picture, shared)
    features = graph.node("Add", convolution(graph, network.last, features), shallow)
    features = graph.node("Add", features, _skip(graph, network.skip, picture))
    return layer(graph, network.to_img, features)


def _run_blocks(
    graph: Graph, network: ESC | ESCFP | RealBody, low: Value, shared: Shared
) -> tuple[Value, Value]:
    shallow = features = layer(graph, network.proj, low)
    for module in network.blocks:
        features = block(graph, module, features, shared)  # type: ignore[arg-type]
    return shallow, features


def _skip(graph: Graph, skip: nn.Sequential, picture: Value) -> Value:
    *_, first, depthwise, activation, last = skip
    padding = torch.tensor([0, 0, SKIP_REACH_PX, SKIP_REACH_PX] * 2)
    padded = graph.node("Pad", layer(graph, first, picture), padding, mode="reflect")
    return layer(graph, nn.Sequential(depthwise, activation, last), padded)


_NOT_PADDED = torch.zeros(6, dtype=torch.int64)
"""Padding before all axes, and after batch and channels."""

Writer = Callable[[Graph, Any, Value], Value]

_WRITERS: dict[type[nn.Module], Writer] = {
    ESC: esc,
    ESCFP: esc_fp,
    ESCReal: esc_real,
    ESCRealM: esc_real,
}


def obstacle(network: nn.Module) -> str | None:
    """Return the reason against writing a network as an ONNX graph, as the end of a sentence, or None."""
    if isinstance(network, LTE):
        return "it computes each pixel of a result of any size by itself"
    if _writer(network) is None:
        return "it is not one of ESC's networks"
    config: NetworkConfig = network.config  # type: ignore[assignment]
    if config.shrinks:
        return f"its results are {config.body_factor} times smaller than the picture"
    for module in network.modules():
        if isinstance(module, Mixer) and not can_mix(module):
            return f"the mixer {type(module).__name__} computes kernels from the picture"
    return None


def _writer(network: nn.Module) -> Writer | None:
    return next((_WRITERS[kind] for kind in type(network).__mro__ if kind in _WRITERS), None)


@dataclass(frozen=True)
class GraphSize:
    """The sizes of pictures that a graph accepts.

    Attributes:
        fixed: Height and width, in pixels, with a batch of one. None means that all three are free.
        pads: Whether the graph pads the picture to whole windows and crops the result. If not, the sides must
            be multiples of the window.
    """

    fixed: tuple[int, int] | None = None
    pads: bool = True


def model_of(
    network: nn.Module, dtype: torch.dtype, size: GraphSize = GraphSize(), *, window_by_window: bool = False
) -> Any:
    """Return the ``onnx.ModelProto`` of a network.

    It maps ``input``, (N, 3, H, W) RGB in [0, 1], to ``output``, (N, 3, scale H, scale W), not clamped. Both
    have the type of the weights.

    Args:
        network: A network without ``obstacle``. It is not modified.
        dtype: Type of the weights and features: float32 or float16.
        size: Sizes of pictures that the graph accepts.
        window_by_window: See ``Graph``.

    Raises:
        ValueError: The network has an ``obstacle``.
    """
    with torch.inference_mode(mode=False), torch.no_grad():
        network = copy.deepcopy(network).float().eval().requires_grad_(requires_grad=False)
        fold_pointwise(network)
        config: NetworkConfig = network.config  # type: ignore[assignment]
        graph = Graph(dtype, window_by_window=window_by_window)
        write = _writer(network)
        if write is None:
            raise ValueError(f"a {type(network).__name__} cannot be written as a graph")
        picture, crop = _padded(graph, size, config)
        high = crop(write(graph, network, picture))
    height, width = size.fixed or ("height", "width")
    return graph.model(
        high,
        (1 if size.fixed else "batch", 3, height, width),
        (1 if size.fixed else "batch", 3, *(_times(config.scale, side) for side in (height, width))),
    )


def _times(scale: int, side: int | str) -> int | str:
    return f"{scale}*{side}" if isinstance(side, str) else scale * side


def _padded(graph: Graph, size: GraphSize, config: NetworkConfig) -> tuple[Value, Callable[[Value], Value]]:
    """Pad the input to whole windows.

    Returns:
        The padded picture, and a function that crops the result.
    """
    window_px, scale = config.window_size, config.scale
    if size.fixed is None:
        return _padded_in_graph(graph, window_px, scale) if size.pads else (INPUT, lambda high: high)
    sides = torch.tensor(size.fixed)
    missing = -sides % window_px
    if not missing.any():
        return INPUT, lambda high: high
    picture = graph.node("Pad", INPUT, torch.cat((_NOT_PADDED, missing)), mode="reflect")
    return picture, lambda high: _cropped(graph, high, sides * scale)


def _padded_in_graph(graph: Graph, window_px: int, scale: int) -> tuple[Value, Callable[[Value], Value]]:
    """Pad the input by what the graph finds out to be missing; see ``_padded``."""
    sides = graph.node("Slice", graph.node("Shape", INPUT), torch.tensor([2]), torch.tensor([4]))
    # (window - 1) * side has the remainder of -side, and runtimes agree about it: it is not negative.
    multiples = graph.node("Mul", sides, torch.tensor([window_px - 1]))
    missing = graph.node("Mod", multiples, torch.tensor([window_px]))
    pads = graph.node("Concat", _NOT_PADDED, missing, axis=0)
    picture = graph.node("Pad", INPUT, pads, mode="reflect")
    return picture, lambda high: _cropped(graph, high, graph.node("Mul", sides, torch.tensor([scale])))


def _cropped(graph: Graph, high: Value, sides: Operand) -> Value:
    return graph.node("Slice", high, torch.tensor([0, 0]), sides, torch.tensor([2, 3]))
