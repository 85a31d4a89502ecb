"""What makes a network fast on the CPU. Its results stay the same up to rounding."""

import torch
from torch import Tensor, nn

from esc_cli.networks.convolution import Convolution, PackedConvolution, can_pack
from esc_cli.networks.mixers.convolutional import ConvolutionalAttention, average_over_symmetries
from esc_cli.networks.spectral_convolution import Spectrum, spectrum_of


def prepare_for_cpu(network: nn.Module) -> None:
    """Make a network ready for inference on the CPU, in place; after it it can only be run.

    The weights are packed or at least laid out channels-last, convolutions are fused with what follows them,
    and the large kernels, averaged over their symmetries, are transformed once. What the processor or the
    dtype does not support stays as it is.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _pack(network)
    _transform(network)


def _pack(network: nn.Module) -> None:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, Convolution) and can_pack(child.weight.dtype):
                setattr(parent, name, PackedConvolution(child))


def _transform(network: nn.Module) -> None:
    """Transform the large kernel of each convolutional attention, the shared one once."""
    shared = getattr(network, "plk_filter", None)
    shared_spectrum = _spectrum(shared) if isinstance(shared, Tensor) else None
    for module in network.modules():
        if isinstance(module, ConvolutionalAttention):
            own = module.plk_filter
            module.spectrum = shared_spectrum if own is None else _spectrum(own)


def _spectrum(large: Tensor) -> Spectrum:
    # bfloat16 would lose digits in between, and is no faster at products of matrices this small.
    dtype = torch.promote_types(large.dtype, torch.float32)
    return spectrum_of(average_over_symmetries(large.detach().to(dtype)), dtype)
