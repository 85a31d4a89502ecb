"""What mixes pixels with their neighbourhood inside an ESC block, in a form that can be exchanged."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.runner import WHOLE, FeatureMap, Runner


class Mixer(nn.Module):
    """Mixes the first ``partial_dim`` channels of a map with their neighbourhood; the other channels pass.

    What depends on the whole picture is gathered first, by a runner; the rest is a local step.

    Attributes:
        partial_dim: Channels that are mixed.
        reach_px: How many rows above and below a row the local step reads.
        align_px: The local step works on a grid of so many pixels.
    """

    partial_dim: int
    reach_px: int
    align_px: int = 1

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Make the kernels of each sample from the whole picture; an empty tensor if there are none.

        Args:
            features: (N, C, H, W), C >= partial_dim.
            run: The runner that pools.

        Returns:
            (N * partial_dim, 1, k, k), sample-major.
        """
        return torch.empty(0)

    @abstractmethod
    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Mix (N, partial_dim, H, W) by the kernels that were made for it; a local step."""

    def forward(self, features: Tensor, *shared: Tensor) -> Tensor:
        """Mix (N, C, H, W); ``shared`` are the large kernels that all layers of a network share."""
        return self._mix_first(features, self.dynamic_kernels(features), *shared)

    def _mix_first(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        first, rest = features.tensor_split((self.partial_dim,), dim=1)
        return torch.cat((self.mix(first, dynamic, *shared), rest), dim=1)


def mean_over_picture(features: FeatureMap, channels: int, run: Runner) -> Tensor:
    """Average the first channels of (N, C, H, W) over all pixels, (N, channels, 1, 1)."""
    height, width = features.shape[-2:]
    dtype = features.dtype
    return run.statistics(
        # At least in float32: float16 overflows beyond 65504, and a picture has millions of pixels.
        lambda rows, _: rows[:, :channels].sum(
            (2, 3), keepdim=True, dtype=torch.promote_types(dtype, torch.float32)
        ),
        lambda total: (total / (height * width)).to(dtype),
        features,
    )


class MLPOfMean(nn.Sequential):
    """The layers that turn a mean into kernels; index 0 is the pooling, which the runner does.

    Convolutions by name, they are run as products: a convolution of a single pixel is all preparation.
    """

    def __init__(self, channels: int, hidden_dim: int, out_channels: int) -> None:
        first, last = nn.Conv2d(channels, hidden_dim, 1), nn.Conv2d(hidden_dim, out_channels, 1)
        super().__init__(nn.Identity(), first, nn.GELU(), last)

    def forward(self, mean: Tensor) -> Tensor:
        """Map (N, channels, 1, 1) to (N, out_channels, 1, 1)."""
        _, first, gelu, last = self
        hidden = gelu(_product(first, mean.flatten(1)))  # type: ignore[arg-type]
        return _product(last, hidden)[..., None, None]  # type: ignore[arg-type]


def _product(pointwise: nn.Conv2d, vectors: Tensor) -> Tensor:
    return F.linear(vectors, pointwise.weight.flatten(1), pointwise.bias)


def silence(layer: nn.Module) -> None:
    """Set a layer to zero, so that training starts without what it makes."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
