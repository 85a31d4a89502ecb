"""A convolution and what follows it, in one pass over memory where the CPU's library can."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class ConvolutionOps:
    """How to compute a convolution with its neighbour.

    Attributes:
        gelu_of: Takes a convolution and its input (N, C, H, W): GELU of its output.
        added: Takes a convolution, its input and a map of its output's shape: the sum of output and map.
    """

    gelu_of: Callable[[nn.Conv2d, Tensor], Tensor]
    added: Callable[[nn.Conv2d, Tensor, Tensor], Tensor]


def _gelu_of(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    return F.gelu(convolution(features))


def _added(convolution: nn.Conv2d, features: Tensor, other: Tensor) -> Tensor:
    return other + convolution(features)  # type: ignore[no-any-return]


PLAIN = ConvolutionOps(_gelu_of, _added)
"""One after the other: differentiable, on every device."""


def _fused_gelu_of(convolution: nn.Conv2d, features: Tensor) -> Tensor:
    geometry = _geometry(convolution)
    return torch.ops.mkldnn._convolution_pointwise(  # type: ignore[no-any-return]
        features, convolution.weight, convolution.bias, *geometry, "gelu", [], "none"
    )


def _fused_added(convolution: nn.Conv2d, features: Tensor, other: Tensor) -> Tensor:
    geometry = _geometry(convolution)
    return torch.ops.mkldnn._convolution_pointwise.binary(  # type: ignore[no-any-return]
        features, other, convolution.weight, convolution.bias, *geometry, "add", 1.0, None, [], None
    )


def _geometry(convolution: nn.Conv2d) -> tuple[object, ...]:
    return convolution.padding, convolution.stride, convolution.dilation, convolution.groups


FUSED = ConvolutionOps(_fused_gelu_of, _fused_added)
"""oneDNN's fused operations, which torch's compiler calls: float32 and bfloat16, for inference only."""
