"""The learned bias for each relative position of two tokens in a window."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

LARGEST_CACHED_BYTES = 64 * 2**20
"""ESC's dense bias is 16 MB a block in float32 and kept; ESC-XL's is 255 MB and gathered for each call."""


@dataclass
class DenseCache:
    """The dense bias that was gathered last, and what it was gathered from."""

    key: tuple[int, int, torch.dtype] | None = None
    bias: Tensor | None = None

    def __deepcopy__(self, memo: object) -> "DenseCache":
        """Start empty: a copy of the network has a table of its own, and gathers from that."""
        return DenseCache()


@dataclass(frozen=True)
class PositionBias:
    """A table of biases, and how it spreads over all pairs of tokens.

    Attributes:
        table: (heads, (2 w - 1)^2); row-major over (key row - query row, key column - query column), each
            from -(w - 1) to w - 1. That is key minus query: transposed with respect to Swin.
        window_size: w, pixels.
        cache: Where the dense form is kept between calls.

    Source: ESC (arXiv 2503.06671), its published code.
    """

    table: Tensor
    window_size: int
    cache: DenseCache = field(default_factory=DenseCache)

    @property
    def needs_gradient(self) -> bool:
        """Whether the table is being trained."""
        return self.table.requires_grad and torch.is_grad_enabled()

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Give the bias of all pairs, (heads, w^2 queries, w^2 keys).

        It is gathered once for as long as the table stays as it is. Differentiable while the table is
        being trained.
        """
        if self.needs_gradient:
            return self._gather().to(dtype)
        if self.table.is_inference():  # has no version by which a change would be seen
            return self._gather().to(dtype)
        key = (self.table.data_ptr(), self.table._version, dtype)
        if self.cache.key == key and self.cache.bias is not None:
            return self.cache.bias
        bias = self._gather().detach().to(dtype)
        if bias.numel() * bias.element_size() <= LARGEST_CACHED_BYTES:
            self.cache.key, self.cache.bias = key, bias
        return bias

    def _gather(self) -> Tensor:
        w, side = self.window_size, 2 * self.window_size - 1
        grid = self.table.view(-1, side, side)
        # pairs[h, i, j, a, b] = grid[h, i + a, j + b]; with i = w - 1 - query row this is key minus query.
        pairs = grid.unfold(1, w, 1).unfold(2, w, 1).flip(1, 2)
        return pairs.reshape(-1, w * w, w * w)
