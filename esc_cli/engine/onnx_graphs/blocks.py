"""Write ESC's block as nodes of an ONNX graph. The network is folded first (see ``networks.folding``)."""

from typing import Any, cast

from esc_cli.engine.onnx_graphs.attention import window_attention
from esc_cli.engine.onnx_graphs.graph import Graph, Value
from esc_cli.engine.onnx_graphs.layers import channel_norm, convolution, gelu, layer, normed_pixels
from esc_cli.engine.onnx_graphs.mixers import Shared, mixed
from esc_cli.networks.architectures.esc_rib import GatedBlock
from esc_cli.networks.blocks import Block, ConvFFN, ConvolutionalBlock, MixingLayer
from esc_cli.networks.folding import FoldedMixingLayer


def block(graph: Graph, module: Block, features: Value, shared: Shared) -> Value:
    """Write a folded block. It maps (N, dim, H, W) to the same shape."""
    inner = _feed_forward(graph, module.proj, channel_norm(graph, module.ln_proj, features))
    inner = _opened(graph, module, inner, shared)
    for norm, ffn, mixing in zip(module.lns, module.convffns, module.pconvs, strict=True):
        hidden = _feed_forward(graph, cast(ConvFFN, ffn), layer(graph, norm, inner))
        inner = _folded_mixing(graph, cast(FoldedMixingLayer, mixing), inner, hidden, shared)
    left = convolution(graph, module.conv_out, channel_norm(graph, module.ln_out, inner))
    return graph.node("Add", features, left)


def _feed_forward(graph: Graph, module: ConvFFN, features: Value) -> Value:
    hidden = gelu(graph, convolution(graph, module.proj, features))
    hidden = graph.node("Add", hidden, gelu(graph, convolution(graph, module.dwc, hidden)))
    return layer(graph, module.aggr, hidden)  # nothing, if it was folded into a later one


def _opened(graph: Graph, module: Block, inner: Value, shared: Shared) -> Value:
    """Write the step before the mixing layers: window attention, or one more mixing layer."""
    if isinstance(module, ConvolutionalBlock):
        return _mixing(graph, module.attn, inner, channel_norm(graph, module.ln_attn, inner), shared)
    pixels = normed_pixels(graph, module.ln_attn, inner)
    attended = window_attention(graph, module.attn, pixels)
    if isinstance(module, GatedBlock):
        gate = layer(graph, module.attn.gate[:-1], graph.transpose(pixels, 0, 3, 1, 2))
        attended = graph.node("Mul", attended, graph.node("Sigmoid", gate))
    return graph.node("Add", inner, convolution(graph, module.attn.to_out, attended))


def _folded_mixing(
    graph: Graph, module: FoldedMixingLayer, residual: Value, hidden: Value, shared: Shared
) -> Value:
    residual = graph.node("Add", residual, convolution(graph, module.passing, hidden))
    made = mixed(graph, module.plk, convolution(graph, module.partial, hidden), shared)
    return graph.node("Add", residual, convolution(graph, module.aggr, made))


def _mixing(graph: Graph, module: MixingLayer, residual: Value, hidden: Value, shared: Shared) -> Value:
    first, weight = module.plk.partial_dim, module.aggr.weight
    partial, rest = graph.split(hidden, [first, weight.shape[1] - first])
    bias: Any = module.aggr.bias
    residual = graph.node("Add", residual, graph.node("Conv", rest, weight[:, first:], bias))
    made = mixed(graph, module.plk, partial, shared)
    return graph.node("Add", residual, graph.node("Conv", made, weight[:, :first]))
