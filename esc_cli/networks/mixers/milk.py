"""MiLK-ConvAttn: convolutional attention with a large kernel mixed for each channel of each picture.

Source: the article on MiLK-ConvAttn, a plug-in for networks with convolutional attention, and its code. No
weights or results of it are published.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.mixers.base import Mixer, MLPOfMean, mean_over_picture, silence
from esc_cli.networks.mixers.convolutional import DYNAMIC_SIZE, convolve_per_sample
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

LEAST_HIDDEN_DIM = 16
"""Smallest number of hidden channels of the three small networks that read the mean."""


class MiLKConvolutionalAttention(Mixer):
    """A softmax mixture of large kernels and a dynamic 3x3 kernel, weighted by gates, added to the input.

    All these steps are depthwise and linear in the map, so they are one convolution with kernels that are
    computed for each sample. An external large kernel (partial_dim, partial_dim, k, k), for example ESC's
    shared one, may join the mixture: ``forward(features, external)``. The convolution is then a full one.

    Args:
        partial_dim: Number p of channels that are mixed. The other channels pass through.
        kernel_size: Side k of the large kernels, an odd number.
        bases: Number of large kernels that are mixed.
        context_dim: Number of first channels whose mean determines the kernels; p by default.
    """

    def __init__(
        self, partial_dim: int, kernel_size: int = 13, bases: int = 8, context_dim: int | None = None
    ) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.reach_px = kernel_size // 2
        self.context_dim = partial_dim if context_dim is None else context_dim
        hidden_dim = max(LEAST_HIDDEN_DIM, self.context_dim // 2)
        self.lk_bases = nn.Parameter(torch.randn(bases, 1, kernel_size, kernel_size) * 0.01)
        self.router = MLPOfMean(self.context_dim, hidden_dim, partial_dim * bases)
        self.dwc_proj = MLPOfMean(self.context_dim, hidden_dim, partial_dim * DYNAMIC_SIZE**2)
        silence(self.dwc_proj[-1])
        self.gate = MLPOfMean(self.context_dim, hidden_dim, 2 * partial_dim)
        self.fuse = nn.Conv2d(partial_dim, partial_dim, 1)

    def dynamic_kernels(
        self, features: FeatureMap, run: Runner = WHOLE, external: Tensor | None = None
    ) -> Tensor:
        """Compute the kernels of each sample from the mean over the whole picture.

        Args:
            features: (N, C, H, W), with C >= partial_dim and C >= context_dim.
            run: The runner that pools.
            external: A large kernel that joins the mixture, (partial_dim, partial_dim, k, k), in the dtype of
                ``features``.

        Returns:
            (N * partial_dim, 1, k, k), or (N * partial_dim, partial_dim, k, k) with an external kernel.
        """
        mean = mean_over_picture(features, self.context_dim, run)  # (N, context_dim, 1, 1)
        gates: Tensor = self.gate(mean).view(-1, 2, self.partial_dim, 1, 1).softmax(dim=1)
        large_gate, small_gate = gates.unbind(dim=1)  # (N, p, 1, 1)
        kernels: Tensor = large_gate * self._mixed_bases(mean) + small_gate * self._small_kernels(mean)
        if external is None:
            return kernels.flatten(0, 1)[:, None]
        # Each channel's own kernel lies on the diagonal of the full kernel.
        diagonal = torch.diag_embed(kernels.permute(0, 2, 3, 1)).permute(0, 3, 4, 1, 2)  # (N, p, p, k, k)
        return (large_gate[..., None] * external + diagonal).flatten(0, 1)

    def forward(self, features: Tensor, *shared: Tensor) -> Tensor:
        """Mix (N, C, H, W), with or without an external kernel."""
        return self._mix_first(features, self.dynamic_kernels(features, WHOLE, *shared))

    def _mixed_bases(self, mean: Tensor) -> Tensor:
        """Return a large kernel for each channel, (N, p, k, k)."""
        bases, _, size, _ = self.lk_bases.shape
        weights: Tensor = self.router(mean).view(-1, self.partial_dim, bases).softmax(dim=-1)
        return (weights @ self.lk_bases.flatten(1)).view(-1, self.partial_dim, size, size)

    def _small_kernels(self, mean: Tensor) -> Tensor:
        """Return the dynamic kernels, zero-padded to the large size, (N, p, k, k)."""
        kernels: Tensor = self.dwc_proj(mean).view(-1, self.partial_dim, DYNAMIC_SIZE, DYNAMIC_SIZE)
        return F.pad(kernels, (self.reach_px - DYNAMIC_SIZE // 2,) * 4)

    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Convolve (N, partial_dim, H, W) with the mixed kernels, fuse the channels, and add the input."""
        return partial + self.fuse(convolve_per_sample(partial, dynamic))  # type: ignore[no-any-return]
