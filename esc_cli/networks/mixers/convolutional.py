"""Convolutional attention: a large kernel shared by all layers, and a small kernel computed from the picture.

Both read only the first ``partial_dim`` channels. The other channels pass through.

Source: ESC (arXiv 2503.06671), section 3, and its published code, for all formulas here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.mixers.base import Mixer, MLPOfMean, mean_over_picture, silence
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner
from esc_cli.networks.spectral_convolution import Spectrum, convolve, pays

DYNAMIC_SIZE = 3
"""Side of the dynamic kernels, in every published network."""


def average_over_symmetries(kernel: Tensor) -> Tensor:
    """Average (..., k, k) over the eight flips and rotations of its last two axes.

    Another call does not change the result, so a folded checkpoint may be folded again.
    """
    flipped = torch.stack((kernel, kernel.flip(-1)))
    turns = [flipped.rot90(turn, (-2, -1)) for turn in range(4)]
    return torch.stack(turns).mean(dim=(0, 1))


def kernel_of_all_layers(kernel: Tensor) -> Tensor:
    """Average a large kernel over its symmetries, and cast it once instead of in every layer under autocast.

    The gradient of the kernel is therefore summed in half precision. In bfloat16, on a batch of ESC x2, this
    changed the gradient by 0.2 %. In both cases the gradient differs by 3.4 % from the one in float32.
    """
    averaged = average_over_symmetries(kernel)
    kind = kernel.device.type
    is_cast = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return averaged.to(torch.get_autocast_dtype(kind)) if is_cast else averaged


def convolve_per_sample(features: Tensor, kernels: Tensor) -> Tensor:
    """Convolve each sample with its own kernels, zero-padded to the same size.

    Args:
        features: (N, C, H, W).
        kernels: (N * C, I, k, k), with odd k, sample-major. With I = 1 each channel is convolved separately.
            With I = C each channel of the result depends on all channels.

    Returns:
        (N, C, H, W).
    """
    n, channels, height, width = features.shape
    # A single sample is not reshaped: its batch stride would hide from torch that it is channels-last. The
    # result would then be channels-first and every later step would copy it, which takes a tenth of the time
    # on the CPU.
    as_channels = features if n == 1 else features.reshape(1, n * channels, height, width)
    groups = n * channels // kernels.shape[1]
    convolved = F.conv2d(as_channels, kernels, padding=kernels.shape[-1] // 2, groups=groups)
    return convolved.view(n, channels, height, width)


class ConvolutionalAttention(Mixer):
    """A full large kernel (partial_dim, partial_dim, k, k) plus depthwise dynamic 3x3 kernels.

    By default the large kernel is the one that all layers share, already averaged over its symmetries. With
    ``own_kernel`` the layer has its own.
    """

    def __init__(self, partial_dim: int, kernel_size: int, own_kernel: bool = False) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.reach_px = kernel_size // 2
        self.spectrum: Spectrum | None = None
        """The transformed large kernel, which replaces the large kernel if set; for inference on the CPU."""
        self.dwc_proj = MLPOfMean(partial_dim, partial_dim // 2, partial_dim * DYNAMIC_SIZE**2)
        # "Important for stabilizing early training" (the published code).
        silence(self.dwc_proj[-1])
        self.plk_filter = orthogonal_kernel(partial_dim, kernel_size) if own_kernel else None

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Make the small kernels of each sample from the mean, (N * partial_dim, 1, 3, 3)."""
        return _as_kernels(self.dwc_proj(mean_over_picture(features, self.partial_dim, run)))

    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Convolve (N, partial_dim, H, W) with the large kernel and the dynamic ones, and add."""
        return self._convolve_large(partial, shared) + convolve_per_sample(partial, dynamic)

    def _convolve_large(self, features: Tensor, shared: tuple[Tensor, ...]) -> Tensor:
        """Convolve (N, partial_dim, H, W) with the large kernel."""
        if self.spectrum is not None and pays(features):
            return convolve(features, self.spectrum)
        large = shared[0] if self.plk_filter is None else average_over_symmetries(self.plk_filter)
        return F.conv2d(features, large, padding=self.reach_px)


class StaticConvolutionalAttention(ConvolutionalAttention):
    """Convolutional attention with the large kernel alone, without dynamic kernels."""

    def __init__(self, partial_dim: int, kernel_size: int, own_kernel: bool = False) -> None:
        super().__init__(partial_dim, kernel_size, own_kernel)
        del self.dwc_proj

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Return an empty tensor: this mixer has no dynamic kernels."""
        return torch.empty(0)

    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Convolve (N, partial_dim, H, W) with the large kernel."""
        return self._convolve_large(partial, shared)


class DecomposedConvolutionalAttention(Mixer):
    """A pointwise kernel (p, p, 1, 1), then a depthwise kernel (p, 1, k, k) that includes the dynamic kernel.

    All layers of a network share the pointwise kernel and the static part of the depthwise kernel.
    """

    def __init__(self, partial_dim: int, kernel_size: int) -> None:
        super().__init__()
        self.partial_dim = partial_dim
        self.reach_px = kernel_size // 2
        self.proj = MLPOfMean(partial_dim, partial_dim // 4, partial_dim * DYNAMIC_SIZE**2)

    def dynamic_kernels(self, features: FeatureMap, run: Runner = WHOLE) -> Tensor:
        """Make the small kernels of each sample from the mean, (N * partial_dim, 1, 3, 3)."""
        return _as_kernels(self.proj(mean_over_picture(features, self.partial_dim, run)))

    def mix(self, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Convolve (N, partial_dim, H, W) with the pointwise kernel, then with the depthwise ones."""
        pointwise, spatial = shared
        features = F.conv2d(partial, pointwise)
        if torch.is_grad_enabled():  # The gradient of one kernel for all samples takes a third of the time.
            return self._convolve_large(features, spatial) + convolve_per_sample(features, dynamic)
        border = self.reach_px - DYNAMIC_SIZE // 2
        kernels = spatial.repeat(partial.shape[0], 1, 1, 1) + F.pad(dynamic, (border,) * 4)
        return convolve_per_sample(features, kernels)

    def _convolve_large(self, features: Tensor, spatial: Tensor) -> Tensor:
        """Convolve each channel of (N, partial_dim, H, W) with its kernel, with a gradient."""
        if features.device.type == "cpu" and features.dtype == torch.bfloat16:
            # oneDNN's gradient of a depthwise convolution with large kernels is slow in bfloat16: with
            # zeros between the channels it takes a quarter of the time.
            return F.conv2d(features, _without_groups(spatial), padding=self.reach_px)
        return F.conv2d(features, spatial, padding=self.reach_px, groups=self.partial_dim)


def _without_groups(kernels: Tensor) -> Tensor:
    """Fill depthwise kernels (C, 1, k, k) with zeros to (C, C, k, k)."""
    return torch.diag_embed(kernels.squeeze(1).movedim(0, -1), dim1=0, dim2=1)


def orthogonal_kernel(partial_dim: int, kernel_size: int) -> nn.Parameter:
    """Make a large kernel (partial_dim, partial_dim, k, k), which is initialized to be orthogonal."""
    return nn.Parameter(nn.init.orthogonal_(torch.empty(partial_dim, partial_dim, kernel_size, kernel_size)))


def _as_kernels(values: Tensor) -> Tensor:
    """Reshape (N, 9 C, 1, 1), channel-major, to (N * C, 1, 3, 3)."""
    return values.reshape(-1, 1, DYNAMIC_SIZE, DYNAMIC_SIZE)
