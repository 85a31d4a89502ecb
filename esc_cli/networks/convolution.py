"""A convolution, alone or fused with the operation that follows it.

On the CPU a fused operation takes one pass over memory, where oneDNN supports it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import mkldnn
from torch.nn import functional as F


class Convolution(nn.Conv2d):
    """A zero-padded convolution that ``PackedConvolution`` may replace for inference on the CPU.

    It maps (N, C, H, W) to (N, C', H, W). Code that reads the weights must do so before the replacement.
    """

    def gelu(self, features: Tensor) -> Tensor:
        """Return the GELU of the convolution's result."""
        return F.gelu(self(features))

    def added(self, features: Tensor, other: Tensor) -> Tensor:
        """Return the convolution's result plus ``other``, (N, C', H, W)."""
        return other + self(features)  # type: ignore[no-any-return]


class PackedConvolution(nn.Module):
    """A ``Convolution`` for inference on the CPU. It calls oneDNN's operations as torch's compiler does.

    The weights are reordered once, into the layout that oneDNN reads: reordering takes a third of the time
    of a call for a small map.
    """

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        geometry = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        packed = torch.ops.mkldnn._reorder_convolution_weight(convolution.weight.detach(), *geometry)
        bias = None if convolution.bias is None else convolution.bias.detach()
        self._arguments: tuple[Any, ...] = (packed, bias, *geometry)
        pointwise = torch.ops.mkldnn._convolution_pointwise
        self._unary, self._binary = pointwise.default, pointwise.binary

    def forward(self, features: Tensor) -> Tensor:
        """Do what ``Convolution`` does."""
        return self._unary(features, *self._arguments, "none", [], "")  # type: ignore[no-any-return]

    def gelu(self, features: Tensor) -> Tensor:
        """Do what ``Convolution.gelu`` does."""
        return self._unary(features, *self._arguments, "gelu", [], "none")  # type: ignore[no-any-return]

    def added(self, features: Tensor, other: Tensor) -> Tensor:
        """Do what ``Convolution.added`` does."""
        return self._binary(features, other, *self._arguments, "add", 1.0, None, [], None)  # type: ignore[no-any-return]


def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this torch build and this processor have oneDNN's operations in ``dtype``."""
    available: bool = mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (available and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
