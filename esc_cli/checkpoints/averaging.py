"""One set of weights from those of several runs: their mean."""

from collections.abc import Sequence

import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.errors import WeightsError


def average_weights(checkpoints: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """Average the weights of one network from several runs, or from several moments of one.

    It helps where the runs have a beginning in common: the weights of those that began at random are far from
    each other, and what lies between them is no good network.

    Args:
        checkpoints: At least one.

    Returns:
        A state dict of their network, float32: the mean, computed in float64.

    Raises:
        WeightsError: They are not all of one network, or it has no weights.

    Source: Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy
    without increasing inference time" (ICML 2022), the uniform soup.
    """
    states = [checkpoint.network.state_dict() for checkpoint in checkpoints]
    first = checkpoints[0]
    if not states[0]:
        raise WeightsError(f"{first.name!r} has no weights")
    for other in checkpoints:
        if other.config != first.config:
            raise WeightsError(
                f"{_described(first)} and {_described(other)} are different networks, and have no mean"
            )
    return {key: torch.stack([state[key].double() for state in states]).mean(0).float() for key in states[0]}


def _described(checkpoint: Checkpoint) -> str:
    scale = "any scale" if checkpoint.scale is None else f"x{checkpoint.scale}"
    return f"{checkpoint.name!r} ({checkpoint.variant} {scale})"
