"""A network made ready to compute quickly on its device."""

import copy

import torch
from torch import nn

from esc_cli.engine.executors.cpu import prepare_for_cpu
from esc_cli.networks.attention.windows import use_attention
from esc_cli.networks.folding import fold_pointwise


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
