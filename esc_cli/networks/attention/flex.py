"""FlexAttention: the bias is looked up in its table inside a compiled kernel, and never dense."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from esc_cli.networks.attention.position_bias import PositionBias, TableBias
from esc_cli.networks.attention.sdpa import sdpa


def flex(query: Tensor, key: Tensor, value: Tensor, bias: PositionBias) -> Tensor:
    """Compute attention with a kernel compiled for the shape, the device and the dtype.

    Compiling takes seconds on a GPU (Triton) and about 20 s on the CPU, where it needs a C++ compiler and
    gives no gradients. Factors need no lookup and are left to ``sdpa``.

    Raises:
        RuntimeError: The kernel cannot be compiled here.
        NotImplementedError: A gradient was asked for on the CPU.
    """
    if not isinstance(bias, TableBias):
        return sdpa(query, key, value, bias)
    return _compiled()(query, key, value, bias.table, bias.window_size)


@cache
def _compiled() -> Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]:
    """Compile on first use; torch keeps a kernel for each shape, dtype and device that it meets.

    Sizes stay constants: at the second size torch would make one slower kernel for any size.
    """
    return torch.compile(_attend, dynamic=False)


def _attend(query: Tensor, key: Tensor, value: Tensor, table: Tensor, window_size: int) -> Tensor:
    side = 2 * window_size - 1

    def place(token: Tensor) -> Tensor:
        """Number the pixels of a window as if its rows were as long as the table's."""
        return token // window_size * side + token % window_size

    def biased(score: Tensor, batch: Tensor, head: Tensor, of_query: Tensor, of_key: Tensor) -> Tensor:
        offset = place(of_key) - place(of_query) + (window_size - 1) * (side + 1)
        return score + table[head, offset]

    attended: Tensor = flex_attention(query, key, value, score_mod=biased)
    return attended
