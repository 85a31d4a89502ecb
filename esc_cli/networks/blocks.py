"""The block that every ESC network repeats, and its parts. Feature maps are (N, dim, H, W)."""

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
"""A residual and what a mixer reads, if that is there."""


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each pixel, with eps 1e-6 as in the published networks."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (N, dim, H, W); the result lies in memory channels-last."""
        pixels = features.permute(0, 2, 3, 1)
        normed = F.layer_norm(pixels, self.weight.shape, self.weight, self.bias, eps=1e-6)
        return normed.permute(0, 3, 1, 2)


class PictureConvolution(nn.Conv2d):
    """A convolution of the picture itself, which may be float32 where the features are half precision.

    The picture stays in float32 beside them, for what is added to it at the end: seven eighths of bfloat16's
    squared error were the rounding of the picture (ESC x4 on Set5: 58.8 dB from float32 before, 67.8 since).
    """

    def forward(self, low: Tensor) -> Tensor:
        """Map (N, 3, H, W) to features of the weights' dtype."""
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
        # In place, which GELU's gradient allows: a third map of this width would not fit in the caches.
        hidden = self.dwc.gelu(hidden).add_(hidden)
        return self.aggr(hidden)  # type: ignore[no-any-return]


class MixingLayer(nn.Module):
    """A mixer over some of the channels, then a pointwise convolution over all of them, added to a residual.

    Run in two steps: the convolution is linear, so that the channels which the mixer does not read can be
    added before it is run, and only the others are held while its statistics are gathered.
    """

    def __init__(self, dim: int, mixer: Mixer) -> None:
        super().__init__()
        self.plk = mixer
        self.aggr = nn.Conv2d(dim, dim, 1)

    def split(self, residual: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Add to ``residual`` what of ``hidden`` passes the mixer, both (N, dim, H, W).

        Returns:
            The sum, and what the mixer reads, (N, partial_dim, H, W).
        """
        partial, rest = hidden.tensor_split((self.plk.partial_dim,), dim=1)
        weight, bias = self.aggr.weight[:, partial.shape[1] :], self.aggr.bias
        # The product, not the convolution: it takes no channels at all, too, where the mixer reads them all.
        passing = F.linear(rest.movedim(1, -1), weight.flatten(1), bias).movedim(-1, 1)
        return residual + passing, partial

    def join(self, residual: Tensor, partial: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        """Add the mixed ``partial`` to ``residual``, both as ``split`` gave them; a local step."""
        mixed = self.plk.mix(partial, dynamic, *shared)
        return residual + F.conv2d(mixed, self.aggr.weight[:, : self.plk.partial_dim])


class Block(nn.Module):
    """Feed-forward, window attention, then several convolutional mixing layers; a residual around it all.

    The module names are the keys of the published checkpoints.

    Source: ESC (arXiv 2503.06671), figure 3, and its published code: there is no skip around the first
    feed-forward network, and inside a mixing layer it comes before the mixer.
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
        """Map (N, dim, H, W) to the same shape; ``shared`` are the network's large kernels.

        No map is read after it was replaced, ``features`` neither.
        """
        inner = run.local(self._enter, features, reach_px=ConvFFN.reach_px)
        inner, held = self._open(inner, shared, run)
        for norm, ffn, layer in zip(self.lns, self.convffns, self.pconvs, strict=True):
            feed = functools.partial(_feed, norm, ffn)
            inner, held = _mix(inner, held, feed, ConvFFN.reach_px, layer, shared, run)  # type: ignore[arg-type]
        return run.local(self._leave, inner, features, reach_px=1, replaces=features)

    def _open(self, inner: FeatureMap, shared: tuple[Tensor, ...], run: Runner) -> tuple[FeatureMap, Held]:
        """Run what comes before the mixing layers; give its result, and what the first may replace."""
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
    """ESC's block without window attention: one more mixing layer, on the normed features, in its place."""

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
    """Run a mixing layer on what ``feed`` makes of ``inner``.

    Returns:
        The result, and the maps it is made of, for the next layer to replace.
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
        # What lies on a grid is not made anew for rows beside it.
        keep=layer.plk.align_px > 1,
    )
    return mixed, (residual, partial)
