"""The learned bias of two tokens in a window: added to the attention's scores, by their positions alone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

LARGEST_CACHED_BYTES = 64 * 2**20
"""ESC's dense bias is 16 MB a block in float32 and kept; ESC-XL's is 255 MB and gathered for each call."""

Made = TypeVar("Made")


class PositionBias(Protocol):
    """What every attention backend may ask of a bias, however it is stored."""

    @property
    def needs_gradient(self) -> bool:
        """Whether the bias is being trained."""
        ...

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Give the bias of all pairs, (heads, queries, keys); differentiable while it is being trained."""
        ...

    def made_anew(self, dtype: torch.dtype) -> Tensor:
        """Give what ``dense`` gives, and keep nothing."""
        ...


class BiasCache:
    """What was made of a table last, of each kind; empty in a copy of the network, with its own table."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Any]] = {}

    def __deepcopy__(self, memo: object) -> "BiasCache":
        return BiasCache()

    def recall(self, kind: str, table: Tensor, dtype: torch.dtype, make: Callable[[], Made]) -> Made:
        """Give what ``make`` gives; it is asked once for as long as the table stays as it is."""
        if table.is_inference():  # has no version by which a change would be seen
            return make()
        state = (table.data_ptr(), table._version, dtype)
        kept_state, made = self._kept.get(kind, (None, None))
        if kept_state != state:
            # An ordinary tensor, which later calls that go back for gradients may read, too.
            with torch.inference_mode(mode=False), torch.no_grad():
                made = make()
            self._kept[kind] = (state, made)
        return made  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TableBias:
    """A table of biases, one for each relative position.

    Attributes:
        table: (heads, (2 w - 1)^2); row-major over (key row - query row, key column - query column), each
            from -(w - 1) to w - 1. That is key minus query: transposed with respect to Swin.
        window_size: w, pixels.
        cache: Where other forms of the table are kept between calls.

    Source: ESC (arXiv 2503.06671), its published code.
    """

    table: Tensor
    window_size: int
    cache: BiasCache = field(default_factory=BiasCache)

    @property
    def needs_gradient(self) -> bool:
        """Whether the table is being trained."""
        return self.table.requires_grad and torch.is_grad_enabled()

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Gather the bias of all pairs, (heads, w^2 queries, w^2 keys), and keep it where it is small."""
        size_bytes = len(self.table) * self.window_size**4 * dtype.itemsize
        if self.needs_gradient or size_bytes > LARGEST_CACHED_BYTES:
            return self.made_anew(dtype)
        return self.cache.recall("dense", self.table, dtype, lambda: self.made_anew(dtype))

    def made_anew(self, dtype: torch.dtype) -> Tensor:
        """Gather the bias of all pairs, as ``dense`` does, and keep nothing."""
        table = self.table if self.needs_gradient else self.table.detach()
        return self._gather(table).to(dtype)

    def dense_of_head(self, head: int) -> Tensor:
        """Gather the bias of one head, (w^2 queries, w^2 keys), of the table's own type, without gradient."""
        return self._gather(self.table.detach()[head : head + 1])[0]

    def _gather(self, table: Tensor) -> Tensor:
        w, side = self.window_size, 2 * self.window_size - 1
        grid = table.view(-1, side, side)
        # pairs[h, i, j, a, b] = grid[h, i + a, j + b]; with i = w - 1 - query row this is key minus query.
        pairs = grid.unfold(1, w, 1).unfold(2, w, 1).flip(1, 2)
        return pairs.reshape(-1, w * w, w * w)


@dataclass(frozen=True)
class FactorBias:
    """A bias of low rank: the product of what each query and each key brings.

    Attributes:
        query_factors: (heads, queries, rank).
        key_factors: (heads, keys, rank).

    Source: FlashBias (arXiv 2505.12044), section 3.
    """

    query_factors: Tensor
    key_factors: Tensor

    @property
    def needs_gradient(self) -> bool:
        """Whether the factors are being trained."""
        return self.query_factors.requires_grad and torch.is_grad_enabled()

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Multiply the factors out: (heads, queries, keys)."""
        return self.made_anew(dtype)

    def made_anew(self, dtype: torch.dtype) -> Tensor:
        """Multiply the factors out; nothing is ever kept of them."""
        return (self.query_factors @ self.key_factors.transpose(-2, -1)).to(dtype)
