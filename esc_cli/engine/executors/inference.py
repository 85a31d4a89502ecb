"""Prepare a network to run fast on its device. Its results stay the same up to rounding."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from esc_cli.engine.device import has_amx
from esc_cli.networks.attention.windows import use_attention
from esc_cli.networks.convolution import Convolution, can_pack, packed
from esc_cli.networks.folding import fold_pointwise
from esc_cli.networks.mixers.convolutional import ConvolutionalAttention, average_over_symmetries
from esc_cli.networks.spectral_convolution import Spectrum, spectrum_of

LARGEST_DIRECT_CHANNELS = 16
"""Channels up to which a large kernel in bfloat16 is faster in its direct form, on a processor with AMX.

Milliseconds for 128x128 pixels with a 13x13 kernel, on two cores of a Xeon with AMX, the minimum of 25 rounds
in turns. Each has a small dynamic convolution in addition.

    channels                    8     16     32     48     64
    direct, bfloat16         0.54   1.02   6.66   9.30   8.98
    by frequencies           1.02   1.60   3.70   4.79   6.28

ESC x4 in bfloat16 took 0.95 to 0.97 of the time in torch, and 0.87 in OpenVINO.
"""


def for_inference(
    network: nn.Module, device: torch.device, dtype: torch.dtype, attention: str = "sdpa"
) -> nn.Module:
    """Copy a network to a device and make it fast. Its results stay the same up to rounding.

    Args:
        network: The network as it was loaded. It is not modified.
        device: Device that the copy will run on.
        dtype: Type of the copy's weights and features.
        attention: Backend of the window attention. With ``naive`` the copy stays as the network is written,
            as a reference to measure all optimizations against.
    """
    # The network is copied because ``Module.to`` works in place. Weights made in inference mode have no
    # version counter, but the attention needs one to detect a stale bias.
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
        # Features are channels-last from the first norm on. Without this, cuDNN would reorder these weights
        # in every call.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare_for_cpu(network: nn.Module) -> None:
    """Prepare a network for inference on the CPU, in place. Afterwards it can only be run.

    The weights are packed or at least stored channels-last. Convolutions are fused with the operations that
    follow them. The large kernels are averaged over their symmetries and transformed once. Parts that the
    processor or the dtype does not support stay as they are.
    """
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _pack(network)
    _transform(network)


def _pack(network: nn.Module) -> None:
    replace_modules(network, lambda one: isinstance(one, Convolution) and can_pack(one.weight.dtype), packed)


def replace_modules(
    network: nn.Module, is_old: Callable[[nn.Module], bool], make: Callable[[Any], nn.Module]
) -> None:
    """Replace some modules of a network, in place.

    Args:
        network: The network.
        is_old: Returns whether a module is to be replaced.
        make: Returns the replacement of a module.
    """
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if is_old(child):
                setattr(parent, name, make(child))


def _transform(network: nn.Module) -> None:
    """Transform the large kernels of convolutional attentions that are faster in the frequency domain.

    A shared kernel is transformed once.
    """
    shared = getattr(network, "plk_filter", None)
    shared_spectrum = _spectrum(shared) if isinstance(shared, Tensor) else None
    for module in network.modules():
        if isinstance(module, ConvolutionalAttention):
            own = module.plk_filter
            module.spectrum = shared_spectrum if own is None else _spectrum(own)


def convolves_directly(large: Tensor, dtype: torch.dtype) -> bool:
    """Return whether a large kernel (C', C, k, k) is faster in its direct form than by frequencies."""
    is_narrow = large.shape[1] <= LARGEST_DIRECT_CHANNELS
    return is_narrow and dtype == torch.bfloat16 and has_amx(torch.cpu.get_capabilities())


def _spectrum(large: Tensor) -> Spectrum | None:
    if convolves_directly(large, large.dtype):
        return None
    # bfloat16 would lose digits in intermediate results, and is no faster for matrix products this small.
    dtype = torch.promote_types(large.dtype, torch.float32)
    return spectrum_of(average_over_symmetries(large.detach().to(dtype)), dtype)
