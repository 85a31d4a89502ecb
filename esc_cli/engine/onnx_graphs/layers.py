"""Write single layers as nodes of an ONNX graph. Feature maps are (N, dim, H, W)."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from esc_cli.engine.onnx_graphs.graph import Graph, Value
from esc_cli.networks.blocks import ChannelNorm, PictureConvolution
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.dysample import GROUPS, DySample


def layer(graph: Graph, module: nn.Module, features: Value) -> Value:
    """Write a layer, or a sequence of layers."""
    return _WRITERS[type(module)](graph, module, features)


def convolution(graph: Graph, module: nn.Conv2d, features: Value) -> Value:
    """Write a convolution with stride 1."""
    attributes = {"pads": _both_ends(module.padding), "group": module.groups}
    return graph.node("Conv", features, module.weight, *_bias(module), **attributes)


def gelu(graph: Graph, features: Value) -> Value:
    """Write the exact GELU, in the form that ONNX Runtime fuses. ``Gelu`` is an operator from opset 20 on."""
    error = graph.node("Erf", graph.node("Div", features, torch.tensor(math.sqrt(2))))
    doubled = graph.node("Mul", features, graph.node("Add", error, torch.tensor(1.0)))
    return graph.node("Mul", doubled, torch.tensor(0.5))


def channel_norm(graph: Graph, norm: ChannelNorm, features: Value) -> Value:
    """Write a normalization over the channels."""
    return graph.transpose(normed_pixels(graph, norm, features), 0, 3, 1, 2)


def normed_pixels(graph: Graph, norm: ChannelNorm, features: Value) -> Value:
    """Normalize (N, dim, H, W) and return (N, H, W, dim)."""
    pixels = graph.transpose(features, 0, 2, 3, 1)
    return graph.node("LayerNormalization", pixels, norm.weight, norm.bias, axis=-1, epsilon=norm.epsilon)


def pixel_shuffle(graph: Graph, features: Value, factor: int) -> Value:
    """Write a pixel shuffle, in torch's order of the channels."""
    return graph.node("DepthToSpace", features, blocksize=factor, mode="CRD")


def pixel_unshuffle(graph: Graph, picture: Value, factor: int) -> Value:
    """Write a pixel unshuffle of (N, 3, H, W), in torch's order of the channels."""
    order = torch.arange(3 * factor**2).view(factor**2, 3).T.flatten()
    return graph.node("Gather", graph.node("SpaceToDepth", picture, blocksize=factor), order, axis=1)


def enlarged(graph: Graph, features: Value, factor: int) -> Value:
    """Write nearest-neighbor upscaling."""
    where = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return graph.node("Resize", features, "", _scales(graph, factor), mode="nearest", **where)


def enlarged_bicubic(graph: Graph, picture: Value, factor: int) -> Value:
    """Write bicubic upscaling as torch's without antialiasing, with a = -0.75."""
    where = {"coordinate_transformation_mode": "half_pixel", "cubic_coeff_a": -0.75}
    return graph.node("Resize", picture, "", _scales(graph, factor), mode="cubic", **where)


def _scales(graph: Graph, factor: int) -> Value:
    return graph.constant(torch.tensor([1.0, 1.0, factor, factor]), dtype=torch.float32)


def _sequence(graph: Graph, module: nn.Sequential, features: Value) -> Value:
    for one in module:
        features = layer(graph, one, features)
    return features


def _transposed_convolution(graph: Graph, module: nn.ConvTranspose2d, features: Value) -> Value:
    attributes = {
        "strides": module.stride,
        "pads": _both_ends(module.padding),
        "output_padding": module.output_padding,
    }
    return graph.node("ConvTranspose", features, module.weight, *_bias(module), **attributes)


def _bias(module: nn.Conv2d | nn.ConvTranspose2d) -> tuple[Tensor, ...]:
    return () if module.bias is None else (module.bias,)


def _both_ends(padding: Any) -> list[int]:
    return [*padding, *padding]


def _dysample(graph: Graph, module: DySample, features: Value) -> Value:
    """Write DySample, one group of channels after the other. Positions are in float32."""
    scope = graph.node("Sigmoid", convolution(graph, module.scope, features))
    offsets = graph.node("Mul", convolution(graph, module.offset, features), scope)
    offsets = graph.cast(graph.node("Mul", offsets, torch.tensor(0.5)), torch.float32)
    offsets = graph.node("Add", offsets, graph.constant(module.init_pos, dtype=torch.float32))
    # x and y, each (N, GROUPS scale^2, H, W), become the positions of each group, (N, 1, scale H, scale W).
    half = GROUPS * module.scale**2
    places = (
        _normalized(graph, part, features, axis)
        for axis, part in zip((3, 2), graph.split(offsets, [half] * 2), strict=True)
    )
    spread = [graph.split(pixel_shuffle(graph, one, module.scale), [1] * GROUPS) for one in places]
    channels = module.end_conv.in_channels // GROUPS
    sampled = [
        _sampled(graph, group, graph.node("Concat", x, y, axis=1))
        for group, x, y in zip(graph.split(features, [channels] * GROUPS), *spread, strict=True)
    ]
    return convolution(graph, module.end_conv, graph.node("Concat", *sampled, axis=1))


def _normalized(graph: Graph, offsets: Value, features: Value, axis: int) -> Value:
    """Return (offset + position + 0.5) * 2 / length - 1 along an axis of a map, which is 2 or 3."""
    number, one = torch.tensor(axis), graph.constant(torch.tensor(1.0), dtype=torch.float32)
    length = graph.node("Gather", graph.node("Shape", features), number)
    length = graph.node("Cast", length, to=graph.number_of(torch.float32))
    half = graph.constant(torch.tensor(0.5), dtype=torch.float32)
    positions = graph.node("Add", graph.node("Range", graph.node("Sub", one, one), length, one), half)
    if axis == 2:
        positions = graph.reshape(positions, -1, 1)
    places = graph.node("Div", graph.node("Add", offsets, positions), graph.node("Mul", length, half))
    return graph.node("Sub", places, one)


def _sampled(graph: Graph, features: Value, positions: Value) -> Value:
    """Sample (N, C, H, W) at (N, 2, scale H, scale W)."""
    modes = {"mode": "bilinear", "padding_mode": "border", "align_corners": 0}
    wide, grid = graph.cast(features, torch.float32), graph.transpose(positions, 0, 2, 3, 1)
    return graph.cast(graph.node("GridSample", wide, grid, **modes), graph.dtype)


_WRITERS: dict[type[nn.Module], Callable[[Graph, Any, Value], Value]] = {
    nn.Sequential: _sequence,
    nn.Identity: lambda graph, module, features: features,
    nn.Conv2d: convolution,
    Convolution: convolution,
    PictureConvolution: convolution,
    nn.ConvTranspose2d: _transposed_convolution,
    ChannelNorm: channel_norm,
    nn.GELU: lambda graph, module, features: gelu(graph, features),
    nn.LeakyReLU: lambda graph, module, features: graph.node(
        "LeakyRelu", features, alpha=module.negative_slope
    ),
    nn.PixelShuffle: lambda graph, module, features: pixel_shuffle(graph, features, module.upscale_factor),
    nn.Upsample: lambda graph, module, features: enlarged(graph, features, int(module.scale_factor)),
    DySample: _dysample,
}
"""How each kind of layer is written."""
