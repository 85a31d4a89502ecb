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

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Apply a 1x1 convolution to (..., C) and return (..., C')."""
        return F.linear(pixels, self.weight.flatten(1), self.bias)


class PackedConvolution(nn.Module):
    """A ``Convolution`` for inference on the CPU. It calls oneDNN's operations as torch's compiler does.

    The weights are reordered once, into the layout that oneDNN reads: reordering takes a third of the time
    of a call for a small map.
    """

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        geometry = (convolution.padding, convolution.stride, convolution.dilation, convolution.groups)
        weight = torch.ops.mkldnn._reorder_convolution_weight(convolution.weight.detach(), *geometry)
        bias = None if convolution.bias is None else convolution.bias.detach()
        self._arguments: tuple[Any, ...] = (weight, bias, *geometry)
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


class PackedPointwise(nn.Module):
    """A 1x1 ``Convolution`` for inference on the CPU, as a product of pixels and weights.

    oneDNN's products are faster than its 1x1 convolutions: from 80 to 16 channels they take 0.6 of the time.
    The weights are reordered once: on a Xeon, this saves 4 to 7 % of ESC x4's time in float32.
    """

    def __init__(self, convolution: Convolution) -> None:
        super().__init__()
        matrix = convolution.weight.detach().flatten(1).contiguous()
        weight = torch.ops.mkldnn._reorder_linear_weight(matrix)
        bias = None if convolution.bias is None else convolution.bias.detach()
        self._arguments: tuple[Any, ...] = (weight, bias)
        pointwise = torch.ops.mkldnn._linear_pointwise
        self._unary, self._binary = pointwise.default, pointwise.binary

    def forward(self, features: Tensor) -> Tensor:
        """Do what ``Convolution`` does."""
        return self.of_pixels(_pixels(features)).permute(0, 3, 1, 2)

    def gelu(self, features: Tensor) -> Tensor:
        """Do what ``Convolution.gelu`` does."""
        hidden = self._unary(_pixels(features), *self._arguments, "gelu", [], "none")
        return hidden.permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def added(self, features: Tensor, other: Tensor) -> Tensor:
        """Do what ``Convolution.added`` does."""
        total = self._binary(_pixels(features), _pixels(other), *self._arguments, "add")
        return total.permute(0, 3, 1, 2)  # type: ignore[no-any-return]

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Do what ``Convolution.of_pixels`` does."""
        return self._unary(pixels, *self._arguments, "none", [], "")  # type: ignore[no-any-return]


def _pixels(features: Tensor) -> Tensor:
    """Return (N, H, W, C) without gaps, because oneDNN's products are slow if rows are apart in memory."""
    return features.permute(0, 2, 3, 1).contiguous()


def packed(convolution: Convolution) -> nn.Module:
    """Return the fastest form of a convolution for inference on the CPU."""
    is_pointwise = convolution.kernel_size == (1, 1) and convolution.groups == 1
    return PackedPointwise(convolution) if is_pointwise else PackedConvolution(convolution)


def can_pack(dtype: torch.dtype) -> bool:
    """Return whether this torch build and this processor have oneDNN's operations in ``dtype``."""
    available: bool = mkldnn.is_available()  # type: ignore[no-untyped-call]
    pointwise = ("_convolution_pointwise", "_linear_pointwise")
    names = (*pointwise, "_reorder_convolution_weight", "_reorder_linear_weight")
    if not (available and all(hasattr(torch.ops.mkldnn, name) for name in names)):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32
