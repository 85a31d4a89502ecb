"""Convolutional attention: a large kernel shared by all layers and a small one made from the picture.

Both read the first ``partial_dim`` channels only; the other channels pass. ``Source:`` of all formulas here:
ESC (arXiv 2503.06671), section 3, and its published code.
"""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.runner import WHOLE, FeatureMap, Runner
from esc_cli.networks.spectral_convolution import Spectrum, convolve, pays

DYNAMIC_SIZE = 3
"""Side of the dynamic kernels, in every published network."""


def average_over_symmetries(kernel: Tensor) -> Tensor:
    """Average (..., k, k) over the eight flips and rotations of its last two axes.

    The result is unchanged by another call, so that a folded checkpoint may be folded again.
    """
    flipped = torch.stack((kernel, kernel.flip(-1)))
    turns = [flipped.rot90(turn, (-2, -1)) for turn in range(4)]
    return torch.stack(turns).mean(dim=(0, 1))


def convolve_per_sample(features: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each channel of each sample with a kernel of its own, zero-padded to the same size.

    Args:
        features: (N, C, H, W).
        kernels: (N * C, 1, k, k), k odd, sample-major.

    Returns:
        (N, C, H, W).
    """
    n, channels, height, width = features.shape
    # Reshaped, one sample would have a batch stride by which torch no longer sees that it lies channels-last;
    # the answer would lie channels-first, and every step after it would copy: a tenth of the CPU's time.
    as_channels = features if n == 1 else features.reshape(1, n * channels, height, width)
    convolved = F.conv2d(as_channels, kernels, padding=kernels.shape[-1] // 2, groups=n * channels)
    return convolved.view(n, channels, height, width)


class _ConvolutionalMixer(nn.Module):
    """What both forms share: the pooled statistics, and the channels that pass."""

    partial_dim: int
    reach_px: int

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Make the small kernels of each sample from the mean over the whole picture.

        Args:
            features: (N, C, H, W), C >= partial_dim.
            run: The runner that pools.

        Returns:
            (N * partial_dim, 1, 3, 3).
        """
        height, width = features.shape[-2:]
        dim, dtype = self.partial_dim, features.dtype
        mean = run.statistics(
            # Summed in float32: float16 overflows beyond 65504, and a picture has millions of pixels.
            lambda rows, _: rows[:, :dim].sum((2, 3), keepdim=True, dtype=torch.float32),
            lambda total: (total / (height * width)).to(dtype),
            features,
        )  # (N, partial_dim, 1, 1)
        return self._kernels_from_mean(mean).reshape(-1, 1, DYNAMIC_SIZE, DYNAMIC_SIZE)

    def mix(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Mix the first channels of (N, C, H, W) with their neighbourhood; a local step."""
        first, rest = features[:, : self.partial_dim], features[:, self.partial_dim :]
        return torch.cat((self._mix_partial(first, dynamic, *shared), rest), dim=1)

    def forward(self, features: Tensor, *shared: Tensor) -> Tensor:
        """Mix (N, C, H, W); ``shared`` are the large kernels that the whole network shares."""
        return self.mix(features, self.dynamic_kernels(features), *shared)

    @abstractmethod
    def _kernels_from_mean(self, mean: Tensor) -> Tensor: ...

    @abstractmethod
    def _mix_partial(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor: ...


class ConvolutionalAttention(_ConvolutionalMixer):
    """A full large kernel (partial_dim, partial_dim, k, k) plus depthwise dynamic 3x3 kernels."""

    def __init__(self, partial_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.reach_px = kernel_size // 2
        self.spectrum: Spectrum | None = None
        """Where it is set, what stands in for the large kernel; for inference on the CPU."""
        self.dwc_proj = _kernel_mlp(partial_dim, partial_dim // 2)
        last = self.dwc_proj[-1]
        # Zero at the start ("important for stabilizing early training", the published code).
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]

    def _kernels_from_mean(self, mean: Tensor) -> Tensor:
        return self.dwc_proj(mean)  # type: ignore[no-any-return]

    def _mix_partial(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        (large,) = shared
        small = convolve_per_sample(features, dynamic)
        if self.spectrum is not None and pays(features):
            return convolve(features, self.spectrum) + small
        return F.conv2d(features, large, padding=self.reach_px) + small


class DecomposedConvolutionalAttention(_ConvolutionalMixer):
    """A pointwise kernel (p, p, 1, 1), then a depthwise one (p, 1, k, k) with the dynamic one inside."""

    def __init__(self, partial_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.reach_px = kernel_size // 2
        self.proj = _kernel_mlp(partial_dim, partial_dim // 4)

    def _kernels_from_mean(self, mean: Tensor) -> Tensor:
        return self.proj(mean)  # type: ignore[no-any-return]

    def _mix_partial(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        pointwise, spatial = shared
        border = self.reach_px - DYNAMIC_SIZE // 2
        kernels = spatial.repeat(features.shape[0], 1, 1, 1) + F.pad(dynamic, (border,) * 4)
        return convolve_per_sample(F.conv2d(features, pointwise), kernels)


def _kernel_mlp(partial_dim: int, hidden_dim: int) -> nn.Sequential:
    """Build the layers that turn a mean into kernels; index 0 is the pooling, which the runner does."""
    return nn.Sequential(
        nn.Identity(),
        nn.Conv2d(partial_dim, hidden_dim, 1),
        nn.GELU(),
        nn.Conv2d(hidden_dim, partial_dim * DYNAMIC_SIZE**2, 1),
    )
