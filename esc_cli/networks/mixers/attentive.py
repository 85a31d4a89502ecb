"""Attentive Convolution (ATConv): small depthwise kernels made from the picture, with an inhibited mean."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.mixers.base import Mixer
from esc_cli.networks.mixers.convolutional import convolve_per_sample
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner


class AttentiveConvolution(Mixer):
    """Convolves with kernels that are computed from the picture. Part of the kernels' mean is subtracted.

    The picture is pooled into k^2 bands of its pixels in reading order, one for each position in the kernel.
    Pooling in two dimensions would be another operator.

    Args:
        partial_dim: Number of channels that are mixed. The other channels pass through.
        kernel_size: Side k of the kernels, an odd number; 3 in all published networks.

    Source: arXiv 2510.20092, and its published code.
    """

    def __init__(self, partial_dim: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.kernel_size = kernel_size
        self.reach_px = kernel_size // 2
        self.kernel_proj = nn.Conv2d(partial_dim, partial_dim, 1)
        self.kernel_gen = nn.Linear(kernel_size**2, kernel_size**2)
        self.x_proj = nn.Conv2d(partial_dim, partial_dim, 1)
        self.proj = nn.Conv2d(partial_dim, partial_dim, 1)
        self.difference_control = nn.Parameter(torch.zeros(partial_dim))

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Compute the kernels of each sample from bands of the whole picture, (N * partial_dim, 1, k, k)."""
        size = self.kernel_size
        pooled = self._pool(features, run)  # (N, partial_dim, k^2)
        # The published code projects the picture before pooling. The result is the same, because the
        # projection of a mean is the mean of the projections.
        context = F.gelu(self.kernel_proj(pooled[..., None])[..., 0])
        routed: Tensor = self.kernel_gen(context)  # (N, partial_dim, k^2)
        inhibition = self.difference_control.sigmoid()[:, None] * routed.mean(dim=-1, keepdim=True)
        return (routed - inhibition).reshape(-1, 1, size, size)

    def _pool(self, features: FeatureMap, run: Runner) -> Tensor:
        """Return the means of the bands, (N, partial_dim, k^2)."""
        height, width = features.shape[-2:]
        dtype = features.dtype
        bands = equal_bands(height * width, self.kernel_size**2)

        def accumulate(rows: Tensor, first_row: int) -> Tensor:
            pixels, before = rows[:, : self.partial_dim].flatten(2), first_row * width
            return torch.stack([_share_of_mean(pixels, before, band) for band in bands], dim=-1)

        return run.statistics(accumulate, lambda total: total.to(dtype), features)

    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Convolve the projected (N, partial_dim, H, W) with the kernels, and project again."""
        return self.proj(convolve_per_sample(self.x_proj(partial), dynamic))  # type: ignore[no-any-return]


def equal_bands(length: int, count: int) -> list[range]:
    """Cover ``length`` positions with ``count`` ranges, whose lengths differ by at most one.

    If ``length`` is not a multiple of ``count``, neighboring ranges may share a position. If ``length`` is
    smaller than ``count``, some neighboring ranges are equal.

    Source: ``torch.nn.AdaptiveAvgPool1d``.
    """
    return [range(band * length // count, -(-(band + 1) * length // count)) for band in range(count)]


def _share_of_mean(pixels: Tensor, before: int, band: range) -> Tensor:
    """Return what pixels (N, C, P), which follow ``before`` other pixels, add to a band's mean, (N, C)."""
    inside = pixels[..., max(band.start - before, 0) : max(band.stop - before, 0)]
    # The sum needs at least float32: float16 overflows beyond 65504.
    return inside.sum(dim=-1, dtype=torch.promote_types(pixels.dtype, torch.float32)) / len(band)
