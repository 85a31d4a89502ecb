"""Convert an ESC network to an OpenVINO model: trace it as it is, with a few parts in faster forms.

OpenVINO takes a graph literally: a change of memory layout in torch becomes a copy in OpenVINO. The table
lists seconds for ESC x4 on 128x128, two cores of a Zen 4, the minimum of several runs (the plain network in
torch takes 2.2 s):

                                                        float32   bfloat16
    the network as it is                                 0.630      0.362
    + norms and windows without copies                   0.589      0.308
    + the 13x13 convolution in the frequency domain      0.439      0.275
    + consecutive pointwise convolutions folded          0.436      0.269
    + a projection for each head, fewer copies of tiles   -3 %       -5 %
    + one head after the other                            -4 %       -3 %

Half of the remaining time is attention. OpenVINO runs it as one kernel, whether it is written with
``scaled_dot_product_attention`` or with products and a softmax. The baked-in bias takes a tenth of its time.
"""

import copy
import importlib
import sys
import warnings
from functools import cache
from types import ModuleType
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.engine.executors.base import bias_obstacle
from esc_cli.engine.executors.inference import convolves_directly, replace_modules
from esc_cli.errors import DeviceError, last_line
from esc_cli.networks.architectures.base import has_weights
from esc_cli.networks.architectures.foreign import ForeignNetwork
from esc_cli.networks.attention.windows import WindowAttentionBase, use_attention
from esc_cli.networks.blocks import ChannelNorm
from esc_cli.networks.folding import fold_pointwise
from esc_cli.networks.mixers.attentive import AttentiveConvolution
from esc_cli.networks.mixers.convolutional import (
    ConvolutionalAttention,
    average_over_symmetries,
    convolve_per_sample,
)
from esc_cli.networks.padding import pad_to_multiple
from esc_cli.networks.spectral_convolution import TILE_PX, spectrum_of

_TELEMETRY = "openvino_telemetry"


def obstacle(network: nn.Module) -> str | None:
    """Return the reason against running a network with OpenVINO, as the end of a sentence, or None."""
    if isinstance(network, ForeignNetwork):
        return "it runs ESC's networks only"
    if not has_weights(network):
        return "a model without weights gains nothing from it"
    if any(isinstance(module, AttentiveConvolution) for module in network.modules()):
        return "the network's pooling would be fixed to one picture size"
    return bias_obstacle(network)


def prepare_for_openvino(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Copy a network in float32, in a form for which OpenVINO makes few copies.

    Its results stay the same up to rounding.

    Args:
        network: The network as it was loaded. It is not modified.
        dtype: Type in which OpenVINO will compute.
    """
    # Weights made in inference mode cannot be traced.
    with torch.inference_mode(mode=False), torch.no_grad():
        prepared = copy.deepcopy(network).float().requires_grad_(requires_grad=False).eval()
        use_attention(prepared, "naive")
        replace_modules(prepared, lambda module: type(module) is ChannelNorm, _Norm)
        replace_modules(prepared, _is_plain_attention, _HeadByHeadAttention)
        large = getattr(prepared, "plk_filter", None)
        if isinstance(large, Tensor) and not convolves_directly(large, dtype):
            kernel = average_over_symmetries(large)
            replace_modules(
                prepared,
                lambda module: type(module) is ConvolutionalAttention,
                lambda mixer: _SpectralAttention(mixer, kernel),
            )
        fold_pointwise(prepared)
    return prepared


def traced_shape(shape: tuple[int, ...], window_px: int) -> tuple[int, ...]:
    """Return the smallest shape (N, 3, H, W) whose sides are padded in the same way as those of ``shape``."""
    return (*shape[:2], *(min(side_px, window_px + side_px % window_px) for side_px in shape[2:]))


@cache
def openvino() -> ModuleType:
    """Import OpenVINO without its telemetry.

    The telemetry sends data over the network when it is imported, writes files into the user's home, and
    fails if there is no home, as in some containers. OpenVINO does without it if it is not installed.
    """
    is_loaded = _TELEMETRY in sys.modules
    if not is_loaded:
        sys.modules[_TELEMETRY] = cast(ModuleType, None)  # importing it fails from now on
    try:
        return importlib.import_module("openvino")
    finally:
        if not is_loaded:
            del sys.modules[_TELEMETRY]


def convert(prepared: nn.Module, shape: tuple[int, ...]) -> Any:
    """Trace a prepared network and convert it.

    This does not use ``openvino.convert_model``, which checks its trace with a second one (8 s in total; here
    3 s).

    Args:
        prepared: Result of ``prepare_for_openvino``.
        shape: (N, 3, H, W). It should be small, because the network is run once.

    Returns:
        An ``openvino.Model``. It may be reshaped to any shape whose ``traced_shape`` is ``shape``.

    Raises:
        DeviceError: OpenVINO lacks an operation of the network.
    """
    openvino()
    from openvino.frontend import FrontEndManager, OpConversionFailure
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    frontend = FrontEndManager().load_by_framework("pytorch")
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), warnings.catch_warnings():
            # The tracer warns that the padding depends on the sides. ``traced_shape`` takes care of that.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(prepared, torch.zeros(shape), check_trace=False)  # type: ignore[no-untyped-call]
            decoder = TorchScriptPythonDecoder(traced)  # must outlive the model that is made from it
            return frontend.convert(frontend.load(decoder))
    except (RuntimeError, OpConversionFailure) as error:
        reason = last_line(error).removeprefix("-- ")
        raise DeviceError(
            f"OpenVINO cannot convert this network: {reason}", hint="choose the runtime torch"
        ) from error


def _is_plain_attention(module: nn.Module) -> bool:
    return isinstance(module, WindowAttentionBase) and type(module).forward is WindowAttentionBase.forward


class _Norm(nn.Module):
    """``ChannelNorm`` without a change of memory layout: OpenVINO would copy the map there and back."""

    def __init__(self, norm: ChannelNorm) -> None:
        super().__init__()
        self.weight = nn.Parameter(norm.weight[:, None, None], requires_grad=False)
        self.bias = nn.Parameter(norm.bias[:, None, None], requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Normalize (N, dim, H, W)."""
        centred = features - features.mean(1, keepdim=True)
        variance = (centred * centred).mean(1, keepdim=True)
        return centred * torch.rsqrt(variance + ChannelNorm.epsilon) * self.weight + self.bias


class _HeadByHeadAttention(nn.Module):
    """``WindowAttention`` that runs one head after the other, each in all windows.

    A head's bias thus stays in the cache, and its inputs are made in the order in which it reads them. The
    scale of the scores is folded into the query's weights. It is 1/4 for 16 channels, so nothing is rounded.
    The key's bias adds the same value to all scores of a query, so the softmax cancels it. The value's bias
    passes through the attention weights, whose sum is 1, and is folded into the output's bias.
    """

    def __init__(self, attention: WindowAttentionBase) -> None:
        super().__init__()
        self.heads = attention.heads
        self.window_size = attention.window_size
        self.to_out = attention.to_out
        dim = self.to_out.in_channels
        channels = dim // self.heads
        scale = channels**-0.5
        weights = attention.to_qkv.weight.view(3, self.heads, channels, dim)
        query, key, value = weights.mT  # each (heads, dim, channels)
        query_bias, _, value_bias = attention.to_qkv.bias.view(3, dim)  # type: ignore[union-attr]
        self.query, self.key, self.value = query * scale, key.contiguous(), value.contiguous()
        self.query_bias = (query_bias * scale).view(self.heads, channels)
        self.to_out.bias += self.to_out.weight.flatten(1) @ value_bias
        self.bias = attention.position_bias().dense(torch.float32)  # (heads, tokens, tokens)

    def forward(self, features: Tensor) -> Tensor:
        """Attend inside each window of (N, dim, H, W)."""
        height, width = features.shape[-2:]
        w = self.window_size
        pixels = pad_to_multiple(features, w).permute(0, 2, 3, 1)
        n, rows, columns, dim = pixels.shape
        cut = pixels.reshape(n, rows // w, w, columns // w, w, dim)
        tokens = cut.transpose(2, 3).reshape(1, -1, w * w, dim)  # four axes, as OpenVINO's kernel requires
        attended = torch.cat([self._attend(tokens, head) for head in range(self.heads)], -1)
        windows = attended.view(n, rows // w, columns // w, w, w, dim)
        merged = windows.transpose(2, 3).reshape(n, rows, columns, dim)
        return self.to_out(merged.permute(0, 3, 1, 2)[..., :height, :width])  # type: ignore[no-any-return]

    def _attend(self, tokens: Tensor, head: int) -> Tensor:
        """Run one head on (1, windows, tokens, dim) and return (1, windows, tokens, channels)."""
        query, key = tokens @ self.query[head] + self.query_bias[head], tokens @ self.key[head]
        scores = query @ key.transpose(-2, -1) + self.bias[head]
        return scores.softmax(-1) @ (tokens @ self.value[head])  # type: ignore[no-any-return]


class _SpectralAttention(ConvolutionalAttention):
    """``ConvolutionalAttention`` that applies its large kernel in the frequency domain."""

    def __init__(self, mixer: ConvolutionalAttention, kernel: Tensor) -> None:
        super().__init__(mixer.partial_dim, kernel.shape[-1])
        self.dwc_proj = mixer.dwc_proj
        spectrum = spectrum_of(kernel)
        self.analysis, self.synthesis, self.gains = spectrum.analysis, spectrum.synthesis, spectrum.gains

    def mix(self, features: Tensor, dynamic: Tensor, *shared: Tensor) -> Tensor:
        return self._convolve(features) + convolve_per_sample(features, dynamic)

    def _convolve(self, features: Tensor) -> Tensor:
        """Convolve (N, C, H, W) as ``spectral_convolution.convolve`` does, with products over whole maps.

        Samples are selected in whole slabs, because OpenVINO gathers small pieces one value at a time.
        """
        n, channels, height, width = features.shape
        size, reach = self.analysis.shape[0], self.reach_px
        padding = (reach, reach + -width % TILE_PX, reach, reach + -height % TILE_PX)
        pixels = F.pad(features, padding).permute(0, 2, 3, 1)  # (N, H', W', C)
        down, across = -(-height // TILE_PX), -(-width // TILE_PX)
        samples, starts = torch.arange(size), torch.arange(down) * TILE_PX
        rows = pixels.index_select(1, (starts[:, None] + samples).reshape(-1)).reshape(n * down, size, -1)
        vertical = (self.analysis @ rows).view(n * down, size, -1, channels)
        swapped = vertical.permute(1, 2, 0, 3).reshape(size, -1, n * down * channels)
        starts = torch.arange(across) * TILE_PX
        columns = swapped.index_select(1, (samples[:, None] + starts).reshape(-1)).reshape(size, size, -1)
        tiles = (self.analysis @ columns).view(size * size, -1, channels)  # (frequencies, tiles, C)
        back = (self.synthesis @ (tiles @ self.gains).view(size, -1)).view(TILE_PX, size, -1)
        high = (self.synthesis @ back).view(TILE_PX, TILE_PX, across, n, down, channels)
        merged = high.permute(3, 4, 0, 2, 1, 5).reshape(n, down * TILE_PX, -1, channels)
        return merged.permute(0, 3, 1, 2)[..., :height, :width]
