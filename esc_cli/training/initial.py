"""The weights that a training run starts from.

A network starts from the weights of a related one with another scale, fewer blocks or less width, or as a
plain enlargement that has only the difference left to learn.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from esc_cli.errors import UsageError, WeightsError
from esc_cli.networks.architectures.base import State
from esc_cli.networks.architectures.esc_real import ESCReal, RealBody
from esc_cli.networks.dysample import DySample

_OWN = re.compile(r"to_img\.|skip\.|blocks\.\d+\.lns\.")
"""Parts that the source may lack: the head, the picture's skip connection, and the norms in the blocks."""

_COLORS = 3

_FEED_FORWARD = re.compile(r"blocks\.\d+\.convffns\.")


def adapt_weights(source: State, target: State) -> dict[str, Tensor]:
    """Make weights for a network from those of a related network.

    The head is resized if the scale differs. If the target has more blocks than the source, the source's
    blocks are spread over the target. Each gap is filled by a copy of the block before it, whose last
    convolution is zero. A block with this zero convolution passes its input on unchanged, so the deeper
    network starts as the same function. A wider feed-forward network also starts as the same function: its
    new channels have zero weights in the layer that reads them. A head of another kind, a skip connection and
    norms that the source lacks keep the target's weights.

    Args:
        source: State dict of the trained network.
        target: State dict of the new network.

    Returns:
        A state dict that fits the target.

    Raises:
        WeightsError: The networks differ in other parts, too.
    """
    state = resize_head(_spread_blocks(source, _block_count(target)), target)
    adapted = {key: _adapted(key, state.get(key), own) for key, own in target.items()}
    misfits = [key for key, weights in adapted.items() if weights is None]
    misfits += [key for key in state if key not in target and not key.startswith("to_img.")]
    if misfits:
        raise WeightsError(f"training cannot start from these weights: they differ in {misfits[0]}")
    return adapted  # type: ignore[return-value]


def _adapted(key: str, weights: Tensor | None, own: Tensor) -> Tensor | None:
    if weights is None:
        return own if _OWN.match(key) else None
    if weights.shape == own.shape:
        return weights
    if not _FEED_FORWARD.match(key) or weights.ndim != own.ndim:
        return None
    if any(have > want for have, want in zip(weights.shape, own.shape, strict=True)):
        return None
    widened = torch.zeros_like(own) if key.endswith("aggr.weight") else own.clone()
    widened[tuple(slice(size) for size in weights.shape)] = weights
    return widened


def has_head(weights: State, network: nn.Module) -> bool:
    """Return whether weights contain the head of a network, at any scale."""
    names = [name for name, _ in network.named_parameters() if name.startswith(("to_img.", "upsampler."))]
    return bool(names) and all(name in weights for name in names)


def resize_head(state: State, target: State) -> dict[str, Tensor]:
    """Resize the pixel-shuffle head to another scale by interpolating each color's grid of filters.

    Source: ESC's published code (bilinear, align_corners False), where x3 and x4 start from x2 weights.
    """
    resized = dict(state)
    for key in ("to_img.weight", "to_img.bias", "upsampler.up_conv.weight", "upsampler.up_conv.bias"):
        if key in state and key in target and state[key].shape[0] != target[key].shape[0]:
            resized[key] = _resize_filters(state[key], target[key].shape[0])
    return resized


def _resize_filters(filters: Tensor, channels: int) -> Tensor:
    old, new = (round((count / 3) ** 0.5) for count in (filters.shape[0], channels))
    grid = filters.reshape(3, old, old, -1).permute(0, 3, 1, 2)
    grid = F.interpolate(grid, size=(new, new), mode="bilinear", align_corners=False)
    return grid.permute(0, 2, 3, 1).reshape(channels, *filters.shape[1:])


def _spread_blocks(state: State, wanted: int) -> State:
    have = _block_count(state)
    if wanted <= have:
        return state
    spread = {key: value for key, value in state.items() if not key.startswith("blocks.")}
    origins = [position * have // wanted for position in range(wanted)]
    for position, origin in enumerate(origins):
        repeated = position > 0 and origins[position - 1] == origin
        for key, value in _block(state, origin).items():
            silent = repeated and key.startswith("conv_out.")
            spread[f"blocks.{position}.{key}"] = torch.zeros_like(value) if silent else value.clone()
    return spread


def _block(state: State, index: int) -> State:
    prefix = f"blocks.{index}."
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _block_count(state: State) -> int:
    indices = (re.match(r"blocks\.(\d+)\.", key) for key in state)
    return 1 + max((int(match[1]) for match in indices if match), default=-1)


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
