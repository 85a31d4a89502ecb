"""Average the weights of several training runs."""

from collections.abc import Sequence

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.errors import WeightsError


def average_weights(checkpoints: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """Average the weights of one network from several training runs, or from several steps of one run.

    Averaging helps if the runs started from the same weights. Runs that started from random weights end far
    from each other, and the mean of their weights is not a good network.

    Args:
        checkpoints: The checkpoints to average, at least one.

    Returns:
        A state dict with the mean of the weights in float32, computed in float64.

    Raises:
        WeightsError: The checkpoints belong to different networks, or the network has no weights or is not an
            ESC network.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time" (ICML 2022), the uniform soup.
    """
    states = [checkpoint.network.state_dict() for checkpoint in checkpoints]
    first = checkpoints[0]
    if not states[0]:
        raise WeightsError(f"{first.name!r} has no weights")
    if first.config.opaque:
        raise WeightsError("only ESC networks can be averaged")
    for other in checkpoints:
        if other.config != first.config:
            raise WeightsError(
                f"{_described(first)} and {_described(other)} are different networks and cannot be averaged"
            )
    return {key: torch.stack([state[key].double() for state in states]).mean(0).float() for key in states[0]}


def _described(checkpoint: Checkpoint) -> str:
    scale = "any scale" if checkpoint.scale is None else f"x{checkpoint.scale}"
    return f"{checkpoint.name!r} ({checkpoint.variant} {scale})"
