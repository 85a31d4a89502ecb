"""A network made ready to compute quickly on its device. Its results stay the same up to rounding."""

import copy

import torch
from torch import Tensor, nn

from esc_cli.networks.attention.windows import use_attention
from esc_cli.networks.convolution import Convolution, PackedConvolution, can_pack
from esc_cli.networks.folding import fold_pointwise
from esc_cli.networks.mixers.convolutional import ConvolutionalAttention, average_over_symmetries
from esc_cli.networks.spectral_convolution import Spectrum, spectrum_of


def for_inference(
    network: nn.Module, device: torch.device, dtype: torch.dtype, attention: str = "sdpa"
) -> nn.Module:
    """Copy a network to a device, with the same results up to rounding.

    Args:
        network: As it was loaded; stays as it is.
        device: Where the copy will run.
        dtype: Of its weights and features.
        attention: The backend of its window attention. With ``naive`` the copy stays the network as it is
            written, which all that makes it fast is measured against.
    """
    # ``Module.to`` works in place, and weights made in inference mode have no version counter, by which the
    # attention knows a stale bias.
    with torch.inference_mode(mode=False), torch.no_grad():
        network = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        is_naive = attention == "naive"
        if not is_naive:
            fold_pointwise(network)  # before its weights are rounded to half precision
        network.to(device, dtype)
        use_attention(network, attention)
        if not is_naive:
            _prepare(network, device)
    return network


def _prepare(network: nn.Module, device: torch.device) -> None:
    if device.type == "cpu":
        prepare_for_cpu(network)
    elif device.type == "cuda":
        # Features lie so from the first norm on; cuDNN would reorder these weights in every call.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


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
