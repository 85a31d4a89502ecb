"""Other projects' names for the tensors of our networks."""

from collections.abc import Mapping

from torch import Tensor

_ENCODER = "encoder."


def own_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of a foreign layout to what the networks here call them.

    LTE's code keeps the describing network beside the rest, under ``encoder.``; here it is one network with
    it. Every other known layout is one of ours already.

    Source: ESC's published code for arbitrary scales.
    """
    return {key.removeprefix(_ENCODER): tensor for key, tensor in state.items()}
