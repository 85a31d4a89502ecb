"""What makes a network fast on the CPU. Its results stay the same up to rounding."""

import torch
from torch import Tensor, nn
from torch.backends import mkldnn

from esc_cli.networks.blocks import Block, ConvFFN, MixingLayer
from esc_cli.networks.convolutional_attention import ConvolutionalAttention, average_over_symmetries
from esc_cli.networks.fused_convolution import FUSED
from esc_cli.networks.spectral_convolution import spectrum_of


def prepare_for_cpu(network: nn.Module) -> None:
    """Make a network ready for inference on the CPU, in place; after it neither training nor a move.

    The weights are laid out channels-last, convolutions are fused with what follows them, and the large
    kernel, averaged over its symmetries, is transformed once. What the processor or the dtype does not
    support stays as it is.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _fuse(network)
    large = getattr(network, "plk_filter", None)
    if isinstance(large, Tensor):
        _transform(network, large.detach())


def can_fuse(dtype: torch.dtype) -> bool:
    """Whether this torch build and this processor have oneDNN's fused operations in ``dtype``."""
    available: bool = mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (available and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return dtype == torch.float32


def _fuse(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, Block | ConvFFN | MixingLayer) and can_fuse(next(module.parameters()).dtype):
            module.ops = FUSED


def _transform(network: nn.Module, large: Tensor) -> None:
    # bfloat16 would lose digits in between, and is no faster at products of matrices this small.
    dtype = torch.promote_types(large.dtype, torch.float32)
    spectrum = spectrum_of(average_over_symmetries(large.to(dtype)), dtype)
    for module in network.modules():
        if isinstance(module, ConvolutionalAttention):
            module.spectrum = spectrum
