"""Write the mixers as nodes of an ONNX graph. Maps are (N, partial_dim, H, W)."""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from esc_cli.engine.onnx_graphs.attention import window_attention
from esc_cli.engine.onnx_graphs.graph import Graph, Value
from esc_cli.engine.onnx_graphs.layers import convolution, gelu
from esc_cli.networks.mixers.base import Mixer, MLPOfMean
from esc_cli.networks.mixers.convolutional import (
    DYNAMIC_SIZE,
    ConvolutionalAttention,
    DecomposedConvolutionalAttention,
    StaticConvolutionalAttention,
    average_over_symmetries,
)
from esc_cli.networks.mixers.window import WindowMixer

Shared = tuple[Value, ...]
"""The large kernels that all layers of a network share."""


def mixed(graph: Graph, mixer: Mixer, partial: Value, shared: Shared) -> Value:
    """Write a mixer, one that ``can_mix``."""
    return _WRITERS[type(mixer)](graph, mixer, partial, shared)


def can_mix(mixer: Mixer) -> bool:
    """Return whether a mixer can be written."""
    return type(mixer) in _WRITERS


def _convolutional(graph: Graph, mixer: ConvolutionalAttention, partial: Value, shared: Shared) -> Value:
    taps = _dynamic_taps(graph, mixer.dwc_proj, mixer.partial_dim, partial)
    return _plus_dynamic(graph, _static(graph, mixer, partial, shared), partial, taps)


def _static(graph: Graph, mixer: ConvolutionalAttention, partial: Value, shared: Shared) -> Value:
    own = mixer.plk_filter
    kernel = shared[0] if own is None else average_over_symmetries(own)
    return graph.node("Conv", partial, kernel, pads=[mixer.reach_px] * 4)


def _decomposed(
    graph: Graph, mixer: DecomposedConvolutionalAttention, partial: Value, shared: Shared
) -> Value:
    pointwise, spatial = shared
    taps = _dynamic_taps(graph, mixer.proj, mixer.partial_dim, partial)
    features = graph.node("Conv", partial, pointwise)
    large = graph.node("Conv", features, spatial, pads=[mixer.reach_px] * 4, group=mixer.partial_dim)
    return _plus_dynamic(graph, large, features, taps)


def _window(graph: Graph, mixer: WindowMixer, partial: Value, shared: Shared) -> Value:
    attended = window_attention(graph, mixer.attn, graph.transpose(partial, 0, 2, 3, 1))
    return convolution(graph, mixer.attn.to_out, attended)


_WRITERS: dict[type[Mixer], Callable[[Graph, Any, Value, Shared], Value]] = {
    ConvolutionalAttention: _convolutional,
    StaticConvolutionalAttention: _static,
    DecomposedConvolutionalAttention: _decomposed,
    WindowMixer: _window,
}
"""How each kind of mixer is written.

The others compute kernels from the picture. A graph would hold these for one picture at a time.
"""


def _dynamic_taps(graph: Graph, module: MLPOfMean, channels: int, partial: Value) -> list[Value]:
    """Compute the dynamic kernels of each sample: the values of each tap, (N, channels, 1, 1)."""
    first, last = (cast(nn.Conv2d, module[index]) for index in (1, 3))
    hidden = gelu(graph, convolution(graph, first, _mean(graph, partial)))
    by_tap = torch.arange(channels * DYNAMIC_SIZE**2).view(channels, -1).T.flatten()
    taps = graph.node("Conv", hidden, last.weight[by_tap], cast(Tensor, last.bias)[by_tap])
    return graph.split(taps, [channels] * DYNAMIC_SIZE**2)


def _mean(graph: Graph, features: Value) -> Value:
    """Average over all pixels in float32: a sum in half precision could overflow."""
    mean = graph.node("GlobalAveragePool", graph.cast(features, torch.float32))
    return graph.cast(mean, graph.dtype)


def _plus_dynamic(graph: Graph, large: Value, features: Value, taps: list[Value]) -> Value:
    """Add the convolution of each sample with its own 3x3 kernels, one shift of the map for each tap.

    A convolution whose kernels are computed has a fixed batch, and TensorRT may refuse it.
    """
    reach = DYNAMIC_SIZE // 2
    padded = graph.node("Pad", features, torch.tensor([0, 0, reach, reach] * 2))
    products = [large]
    for position, tap in enumerate(taps):
        row, column = divmod(position, DYNAMIC_SIZE)
        start, stop = torch.tensor([row, column]), torch.tensor([row, column]) - DYNAMIC_SIZE + 1
        stop = torch.where(stop == 0, 2**31 - 1, stop)
        shifted = graph.node("Slice", padded, start, stop, torch.tensor([2, 3]))
        products.append(graph.node("Mul", shifted, tap))
    return graph.node("Sum", *products)
