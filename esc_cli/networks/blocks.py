"""The block that every ESC network repeats, and the parts of the block.

Feature maps are (N, dim, H, W).
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.networks.attention.windows import WindowAttention
from esc_cli.networks.convolution import Convolution
from esc_cli.networks.mixers.base import Mixer
from esc_cli.networks.runner import FeatureMap, Runner

Held = tuple[FeatureMap, FeatureMap | None]
"""A residual, and the input of a mixer or None."""


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of each pixel."""

    epsilon = 1e-6
    """Value that is added to the variance, as in the published networks."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, features: Tensor) -> Tensor:
        """Normalize (N, dim, H, W). The result has the channels-last memory format."""
        pixels = features.permute(0, 2, 3, 1)
        normed = F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, self.epsilon)
        return normed.permute(0, 3, 1, 2)


class PictureConvolution(nn.Conv2d):
    """A convolution of the picture itself, which may be float32 while the features are half precision.

    The picture stays in float32 because the network's residual is added to it at the end. Rounding the
    picture caused seven eighths of bfloat16's squared error (ESC x4 with earlier weights on Set5: 58.8 dB
    from the float32 result with rounding, 67.8 dB without).
    """

    def forward(self, low: Tensor) -> Tensor:
        """Map (N, 3, H, W) to features in the dtype of the weights."""
        return super().forward(low.to(self.weight.dtype))


class ConvFFN(nn.Module):
    """A pointwise feed-forward network with a depthwise 3x3 convolution inside."""

    reach_px = 1

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.proj = Convolution(dim, hidden_dim, 1)
        self.dwc = Convolution(hidden_dim, hidden_dim, 3, padding=1, groups=hidden_dim)
        self.aggr = Convolution(hidden_dim, dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, dim, H, W) to the same shape."""
        hidden = self.proj.gelu(features)
        # GELU's gradient allows the addition in place. A third map of this width would not fit in the caches.
        hidden = self.dwc.gelu(hidden).add_(hidden)
        return self.aggr(hidden)  # type: ignore[no-any-return]


class MixingLayer(nn.Module):
    """A mixer over some of the channels, then a pointwise convolution over all of them, added to a residual.

    The layer runs in two steps. The convolution is linear, so the channels that the mixer does not read can
    be added to the residual before the mixer runs. Only the mixer's channels are held while the statistics
    for the mixer are gathered.
    """

    def __init__(self, dim: int, mixer: Mixer) -> None:
        super().__init__()
        self.plk = mixer
        self.aggr = nn.Conv2d(dim, dim, 1)

    def split(self, residual: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the channels of ``hidden`` that bypass the mixer, and add them to ``residual``.

        Args:
            residual: (N, dim, H, W).
            hidden: (N, dim, H, W).

        Returns:
            The sum, (N, dim, H, W), and the input of the mixer, (N, partial_dim, H, W).
        """
        partial, rest = hidden.tensor_split((self.plk.partial_dim,), dim=1)
        weight, bias = self.aggr.weight[:, partial.shape[1] :], self.aggr.bias
        if rest.shape[1] == 0:  # the mixer reads all channels; OpenVINO has no product over zero channels
            return residual + bias[:, None, None], partial  # type: ignore[index]
        passing = F.linear(rest.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
        return residual + passing, partial

    def join(self, residual: Tensor, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Mix ``partial`` and add it to ``residual``. Both come from ``split``. This is a local step."""
        mixed = self.plk.mix(partial, dynamic, *shared)
        return residual + F.conv2d(mixed, self.aggr.weight[:, : self.plk.partial_dim])


class Block(nn.Module):
    """A feed-forward network, window attention and several mixing layers, with a residual around all of them.

    The module names are the keys of the published checkpoints.

    Source: ESC (arXiv 2503.06671), figure 3, and its published code: there is no skip around the first
    feed-forward network, and in a mixing layer the feed-forward network comes before the mixer.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window_size: int,
        first_hidden_dim: int,
        hidden_dim: int,
        inner_norm: bool,
        mixers: int,
        make_mixer: Callable[[], Mixer],
    ) -> None:
        super().__init__()
        self.ln_proj = ChannelNorm(dim)
        self.proj = ConvFFN(dim, first_hidden_dim)
        self.ln_attn = ChannelNorm(dim)
        self.attn = WindowAttention(dim, heads, window_size)
        norms = (ChannelNorm(dim) if inner_norm else nn.Identity() for _ in range(mixers))
        self.lns = nn.ModuleList(norms)
        self.pconvs = nn.ModuleList(MixingLayer(dim, make_mixer()) for _ in range(mixers))
        self.convffns = nn.ModuleList(ConvFFN(dim, hidden_dim) for _ in range(mixers))
        self.ln_out = ChannelNorm(dim)
        self.conv_out = Convolution(dim, dim, 3, padding=1)

    def forward(self, features: FeatureMap, shared: tuple[Tensor, ...], run: Runner) -> FeatureMap:
        """Map (N, dim, H, W) to the same shape. ``shared`` holds the network's large kernels.

        No map, including ``features``, is read after it has been replaced.
        """
        inner = run.local(self._enter, features, reach_px=ConvFFN.reach_px)
        inner, held = self._open(inner, shared, run)
        for norm, ffn, layer in zip(self.lns, self.convffns, self.pconvs, strict=True):
            feed = functools.partial(_feed, norm, ffn)
            inner, held = _mix(inner, held, feed, ConvFFN.reach_px, layer, shared, run)  # type: ignore[arg-type]
        return run.local(self._leave, inner, features, reach_px=1, replaces=features)

    def _open(self, inner: FeatureMap, shared: tuple[Tensor, ...], run: Runner) -> tuple[FeatureMap, Held]:
        """Run the steps before the mixing layers.

        Returns:
            The result, and the maps that the first mixing layer may replace.
        """
        inner = self._run_attention(inner, run)
        return inner, (inner, None)

    def _run_attention(self, inner: FeatureMap, run: Runner) -> FeatureMap:
        return run.local(self._attend, inner, reach_px=0, align_px=self.attn.window_size, replaces=inner)

    def _enter(self, features: Tensor) -> Tensor:
        return self.proj(self.ln_proj(features))  # type: ignore[no-any-return]

    def _attend(self, inner: Tensor) -> Tensor:
        return inner + self.attn(self.ln_attn(inner))  # type: ignore[no-any-return]

    def _leave(self, inner: Tensor, features: Tensor) -> Tensor:
        return self.conv_out.added(self.ln_out(inner), features)


class ConvolutionalBlock(Block):
    """ESC's block with one more mixing layer, on the normalized features, in place of window attention."""

    attn: MixingLayer  # type: ignore[assignment]

    def __init__(self, *, dim: int, make_mixer: Callable[[], Mixer], **widths: Any) -> None:
        super().__init__(dim=dim, make_mixer=make_mixer, **widths)
        self.attn = MixingLayer(dim, make_mixer())

    def _open(self, inner: FeatureMap, shared: tuple[Tensor, ...], run: Runner) -> tuple[FeatureMap, Held]:
        return _mix(inner, (inner, None), self.ln_attn, 0, self.attn, shared, run)


def _feed(norm: nn.Module, ffn: nn.Module, features: Tensor) -> Tensor:
    return ffn(norm(features))  # type: ignore[no-any-return]


def _mix(
    inner: FeatureMap,
    spare: Held,
    feed: Callable[[Tensor], Tensor],
    feed_reach_px: int,
    layer: MixingLayer,
    shared: tuple[Tensor, ...],
    run: Runner,
) -> tuple[FeatureMap, Held]:
    """Run a mixing layer on the result of ``feed`` for ``inner``.

    Returns:
        The result, and the maps that it was made from, which the next layer may replace.
    """

    def split(residual: Tensor) -> tuple[Tensor, Tensor]:
        return layer.split(residual, feed(residual))

    residual, partial = run.pair(split, inner, reach_px=feed_reach_px, replaces=spare)
    dynamic = layer.plk.dynamic_kernels(partial, run)

    def join(residual: Tensor, partial: Tensor) -> Tensor:
        return layer.join(residual, partial, dynamic, *shared)

    mixed = run.local(
        join,
        residual,
        partial,
        reach_px=layer.plk.reach_px,
        align_px=layer.plk.align_px,
        replaces=residual,
        keep=False,
    )
    return mixed, (residual, partial)
