"""FlexAttention: a compiled kernel looks up the bias in its table, so the bias is never dense."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from esc_cli.networks.attention.position_bias import PositionBias, TableBias
from esc_cli.networks.attention.sdpa import sdpa


def flex(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention with a kernel compiled for the shape, the device and the dtype.

    Compilation takes seconds on a GPU (Triton). On the CPU it takes about 20 s and needs a C++ compiler, and
    the kernel has no gradients. Factors need no lookup and are left to ``sdpa``.

    Raises:
        RuntimeError: The kernel cannot be compiled here.
        NotImplementedError: A gradient was requested on the CPU.
    """
    if not isinstance(bias, TableBias):
        return sdpa(query, key, value, bias)
    return _compiled()(query, key, value, bias.table, bias.window_size)


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]:
    """Compile the attention on first use. Torch keeps a kernel for each shape, dtype and device.

    Sizes are compiled as constants. Otherwise torch would make one slower kernel for all sizes when it meets
    a second size.
    """
    return torch.compile(_attend, dynamic=False)


def _attend(query: Tensor, key: Tensor, value: Tensor, table: Tensor, window_size: int) -> Tensor:
    side = 2 * window_size - 1

    def place(token: Tensor) -> Tensor:
        """Return the index of a window's pixel as if the window's rows were as long as the table's."""
        return token // window_size * side + token % window_size

    def biased(score: Tensor, batch: Tensor, head: Tensor, of_query: Tensor, of_key: Tensor) -> Tensor:
        offset = place(of_key) - place(of_query) + (window_size - 1) * (side + 1)
        return score + table[head, offset]

    attended: Tensor = flex_attention(query, key, value, score_mod=biased)
    return attended
