"""Fold consecutive pointwise convolutions into one, for inference.

The network computes the same function with fewer multiplications.
"""

import torch
from torch import Tensor, nn

from esc_cli.networks.blocks import Block, MixingLayer
from esc_cli.networks.convolution import Convolution


class FoldedMixingLayer(nn.Module):
    """A ``MixingLayer`` that contains the last convolution of the feed-forward network before it.

    The channels that the mixer does not read pass through both convolutions with nothing in between.
    """

    def __init__(self, last: nn.Conv2d, layer: MixingLayer) -> None:
        super().__init__()
        self.plk = layer.plk
        first = self.plk.partial_dim
        weight, bias = _as_matrix(last)
        onward, onward_bias = _as_matrix(layer.aggr)
        passing_bias = onward[:, first:] @ bias[first:] + onward_bias
        dtype = last.weight.dtype
        self.passing = _pointwise(onward[:, first:] @ weight[first:], passing_bias, dtype)
        self.partial = _pointwise(weight[:first], bias[:first], dtype)
        self.aggr = _pointwise(onward[:, :first], None, dtype)

    def split(self, residual: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Do what ``MixingLayer.split`` does, from (N, hidden_dim, H, W)."""
        return self.passing.added(hidden, residual), self.partial(hidden)

    def join(self, residual: Tensor, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Do what ``MixingLayer.join`` does."""
        return self.aggr.added(self.plk.mix(partial, dynamic, *shared), residual)


@torch.no_grad()
def fold_pointwise(network: nn.Module) -> None:
    """Fold the convolutions of each mixing layer in place. A folded network cannot be trained or saved.

    In a mixing layer of ESC, folding saves an eighth of the multiplications and a copy of the feature map.
    """
    for block in network.modules():
        if isinstance(block, Block):
            for position, (ffn, layer) in enumerate(zip(block.convffns, block.pconvs, strict=True)):
                block.pconvs[position] = FoldedMixingLayer(ffn.aggr, layer)  # type: ignore[arg-type]
                ffn.aggr = nn.Identity()


def _as_matrix(convolution: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Return the weights, (out, in), and the bias, in float32 or wider."""
    weight, bias = convolution.weight.flatten(1), convolution.bias
    dtype = torch.promote_types(weight.dtype, torch.float32)
    return weight.to(dtype), bias.to(dtype)  # type: ignore[union-attr]


def _pointwise(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Convolution:
    """Make a pointwise convolution from weights (out, in)."""
    convolution = Convolution(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    convolution.weight = nn.Parameter(weight[:, :, None, None].to(dtype), requires_grad=False)
    if bias is not None:
        convolution.bias = nn.Parameter(bias.to(dtype), requires_grad=False)
    return convolution
