"""Write window attention as nodes of an ONNX graph.

Pixels are (N, H, W, dim), and H and W are multiples of the attention window. No value depends on the size of
the picture: ``Reshape`` copies and completes lengths by itself.
"""

from typing import cast

import torch
from torch import Tensor

from esc_cli.engine.onnx_graphs.graph import Graph, Value
from esc_cli.networks.attention.position_bias import FactorBias, TableBias
from esc_cli.networks.attention.windows import WindowAttentionBase

_HEADS_FIRST = ((0, 2, 1, 3), (0, 2, 3, 1), (0, 2, 1, 3))
"""Orders of the axes of query, key (transposed) and value, from (windows, tokens, heads, channels)."""


def window_attention(graph: Graph, module: WindowAttentionBase, pixels: Value) -> Value:
    """Attend inside each window of (N, H, W, dim), and return (N, dim, H, W)."""
    w, dim = module.window_size, module.to_out.in_channels
    bands = graph.reshape(pixels, 0, 0, -1, w * dim)  # (N, H, W / w, w dim)
    # (N, W / w, H / w, w w dim), in which a window's pixels lie together
    windows = graph.reshape(graph.transpose(bands, 0, 2, 1, 3), 0, 0, -1, w * w * dim)
    attended = _attended_tokens(graph, module, graph.reshape(windows, -1, w * w, dim))
    merged = graph.node("Reshape", attended, graph.node("Shape", windows))
    bands = graph.transpose(graph.reshape(merged, 0, 0, -1, w * dim), 0, 2, 1, 3)
    return graph.transpose(graph.reshape(bands, 0, 0, -1, dim), 0, 3, 1, 2)


def _attended_tokens(graph: Graph, module: WindowAttentionBase, tokens: Value) -> Value:
    """Attend among the tokens of each window, (windows, tokens, dim)."""
    heads, area_px, dim = module.heads, module.window_size**2, module.to_out.in_channels
    channels = dim // heads
    query, key, value = (
        graph.transpose(graph.reshape(part, 0, area_px, heads, channels), *axes)
        for part, axes in zip(_projected(graph, module, tokens), _HEADS_FIRST, strict=True)
    )
    bias = _position_bias(graph, module)
    if graph.window_by_window:
        attended = _scanned(graph, (query, key, value), bias, (heads, area_px, channels))
    else:
        attended = _softmax_attention(graph, query, key, value, bias)
    return graph.transpose(attended, 0, 2, 1, 3)


def _projected(graph: Graph, module: WindowAttentionBase, tokens: Value) -> list[Value]:
    """Return query, key and value, each (windows, tokens, dim). The scale of the scores is in the query."""
    dim = module.to_out.in_channels
    scale = torch.ones(3 * dim)
    scale[:dim] = (dim // module.heads) ** -0.5
    weight, bias = module.to_qkv.weight.flatten(1), cast(Tensor, module.to_qkv.bias)
    products = graph.node("MatMul", tokens, (weight * scale[:, None]).T)
    return graph.split(graph.node("Add", products, bias * scale), [dim] * 3, axis=2)


def _softmax_attention(graph: Graph, query: Value, key: Value, value: Value, bias: Value) -> Value:
    scores = graph.node("Add", graph.node("MatMul", query, key), bias)
    return graph.node("MatMul", graph.node("Softmax", scores, axis=-1), value)


def _scanned(
    graph: Graph, values: tuple[Value, Value, Value], bias: Value, shape: tuple[int, int, int]
) -> Value:
    """Attend in one window after the other, so that the scores of a single window are in memory."""
    heads, area_px, channels = shape
    body = Graph(graph.dtype, outer=graph)
    query, key, value = (body.name(word) for word in ("query", "key", "value"))
    inputs = {query: shape, key: (heads, channels, area_px), value: shape}
    attended = _softmax_attention(body, query, key, value, bias)
    return graph.node("Scan", *values, num_scan_inputs=3, body=body.inner(inputs, attended, shape))


def _position_bias(graph: Graph, module: WindowAttentionBase) -> Value:
    """Write the bias of all pairs of tokens, (heads, tokens, tokens), in a form that takes little space."""
    bias = module.position_bias()
    if isinstance(bias, FactorBias):
        return graph.node("MatMul", bias.query_factors, bias.key_factors.transpose(-2, -1))
    if not isinstance(bias, TableBias):
        raise TypeError(f"a {type(bias).__name__} cannot be written")
    w, side = bias.window_size, 2 * bias.window_size - 1
    places = (torch.arange(w)[:, None] * side + torch.arange(w)).flatten()
    # The position in the table of key minus query; the middle of the table is a difference of zero.
    relative = graph.shared(
        f"relative positions in {w}x{w}",
        lambda: graph.node("Sub", places + (side * side) // 2, places[:, None]),
    )
    return graph.node("Gather", bias.table, relative, axis=1)
