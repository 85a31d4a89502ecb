"""The interface of mixers, the exchangeable parts of an ESC block that mix pixels with their neighborhood."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.runner import WHOLE, FeatureMap, Runner


class Mixer(nn.Module):
    """Mixes pixels with their neighborhood in the first ``partial_dim`` channels. The others pass through.

    A runner first gathers everything that depends on the whole picture. The rest is a local step.

    Attributes:
        partial_dim: Number of channels that are mixed.
        reach_px: How many rows above and below a row the local step reads.
        align_px: Side of the grid on which the local step works, in pixels.
    """

    partial_dim: int
    reach_px: int
    align_px: int = 1

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Compute the kernels of each sample from the whole picture.

        Args:
            features: (N, C, H, W), with C >= partial_dim.
            run: The runner that pools.

        Returns:
            (N * partial_dim, 1, k, k), sample-major; an empty tensor if the mixer has no dynamic kernels.
        """
        return torch.empty(0)

    @abstractmethod
    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Mix (N, partial_dim, H, W) with the kernels that were computed for it. This is a local step."""

    def forward(self, features: Tensor, *shared: Tensor) -> Tensor:
        """Mix (N, C, H, W). ``shared`` holds the large kernels that all layers of a network share."""
        return self._mix_first(features, self.dynamic_kernels(features), *shared)

    def _mix_first(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        first, rest = features.tensor_split((self.partial_dim,), dim=1)
        return torch.cat((self.mix(first, dynamic, *shared), rest), dim=1)


def mean_over_picture(features: FeatureMap, channels: int, run: Runner) -> Tensor:
    """Return the mean of the first channels of (N, C, H, W) over all pixels, (N, channels, 1, 1)."""
    height, width = features.shape[-2:]
    dtype = features.dtype
    return run.statistics(
        # The sum needs at least float32: float16 overflows beyond 65504, and there are millions of pixels.
        lambda rows, _: rows[:, :channels].sum(
            (2, 3), keepdim=True, dtype=torch.promote_types(dtype, torch.float32)
        ),
        lambda total: (total / (height * width)).to(dtype),
        features,
    )


class MLPOfMean(nn.Sequential):
    """The layers that compute kernels from a mean. Index 0 stands for the pooling, which the runner does.

    The layers are convolutions for the sake of the parameter names but run as matrix products, because a
    convolution of a single pixel spends all its time on preparation.
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
    """Set all parameters of a layer to zero, so that its output is zero when training starts."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
