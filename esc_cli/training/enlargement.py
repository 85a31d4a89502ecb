"""Initialize a network so that it starts as a plain enlargement and has only the difference left to learn."""

import torch
from torch import nn

from esc_cli.errors import UsageError
from esc_cli.networks.architectures.esc_real import ESCReal, RealBody
from esc_cli.networks.dysample import DySample

_COLORS = 3


@torch.no_grad()
def start_as_enlargement(network: nn.Module) -> None:
    """Set some weights so that the first output is the enlarged input.

    If a network adds its result to the enlarged picture, its last layer is set to zero. ESC-Real does not add
    the enlarged picture: its first three channels carry the picture past the blocks and through the head.

    Raises:
        UsageError: The network is an ESC-RealM: some of its heads cannot carry a picture.
    """
    if isinstance(network, ESCReal):
        _carry_picture(network)
        return
    if isinstance(network, RealBody):
        raise UsageError("esc-realm cannot start as a plain enlargement", hint="add --no-zero-head")
    head = network.get_submodule("upsampler.up_conv" if hasattr(network, "upsampler") else "to_img")
    last = head[-1] if isinstance(head, nn.Sequential) else head
    for parameter in last.parameters():
        parameter.zero_()


def _carry_picture(network: ESCReal) -> None:
    head = network.to_img
    layers = [head.end_conv] if isinstance(head, DySample) else head.children()
    for layer in (network.proj, *layers):
        if isinstance(layer, nn.Conv2d):
            nn.init.dirac_(layer.weight[:_COLORS])
            layer.bias[:_COLORS] = 0  # type: ignore[index]
    for layer in (network.last, network.skip[-1]):
        for parameter in layer.parameters():
            parameter[:_COLORS] = 0
