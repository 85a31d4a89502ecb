"""The learned bias of the attention scores, which depends only on the positions of the two tokens."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

LARGEST_CACHED_BYTES = 64 * 2**20
"""Largest size of a dense bias that is cached.

ESC's dense bias is 16 MB per block in float32 and is cached. ESC-XL's is 255 MB and is gathered in each call.
"""

Made = TypeVar("Made")


class PositionBias(Protocol):
    """The interface of a bias for the attention backends, independent of how the bias is stored."""

    @property
    def needs_gradient(self) -> bool:
        """Whether the bias is being trained."""
        ...

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Return the bias of all pairs, (heads, queries, keys), differentiable while it is being trained."""
        ...

    def made_anew(self, dtype: torch.dtype) -> Tensor:
        """Return the same as ``dense``, without a cache."""
        ...


class BiasCache:
    """A cache of the last value of each kind that was computed from a table.

    A copy of the network has its own table, so its cache starts empty.
    """

    def __init__(self) -> None:
        self._kept: dict[str, tuple[object, Any]] = {}

    def __deepcopy__(self, memo: object) -> "BiasCache":
        return BiasCache()

    def recall(self, kind: str, table: Tensor, dtype: torch.dtype, make: Callable[[], Made]) -> Made:
        """Return the result of ``make``, which is called again only after the table has changed."""
        if table.is_inference():  # has no version that would show a change
            return make()
        state = (table.data_ptr(), table._version, dtype)
        kept_state, made = self._kept.get(kind, (None, None))
        if kept_state != state:
            # This makes an ordinary tensor, which later calls that compute gradients may also read.
            with torch.inference_mode(mode=False), torch.no_grad():
                made = make()
            self._kept[kind] = (state, made)
        return made  # type: ignore[no-any-return]


@dataclass(frozen=True)
class TableBias:
    """A table with one bias for each relative position.

    Attributes:
        table: (heads, (2 w - 1)^2), row-major over (key row - query row, key column - query column), each
            from -(w - 1) to w - 1. The positions are key minus query, which is transposed from Swin.
        window_size: Side w of the window, in pixels.
        cache: Cache that keeps other forms of the table between calls.

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
        """Gather the bias of all pairs, (heads, w^2 queries, w^2 keys), and cache it if it is small."""
        size_bytes = len(self.table) * self.window_size**4 * dtype.itemsize
        if self.needs_gradient or size_bytes > LARGEST_CACHED_BYTES:
            return self.made_anew(dtype)
        return self.cache.recall("dense", self.table, dtype, lambda: self.made_anew(dtype))

    def made_anew(self, dtype: torch.dtype) -> Tensor:
        """Gather the bias of all pairs, as ``dense`` does, without a cache."""
        table = self.table if self.needs_gradient else self.table.detach()
        return self._gather(table).to(dtype)

    def dense_of_head(self, head: int) -> Tensor:
        """Gather the bias of one head, (w^2 queries, w^2 keys), in the table's dtype and without gradient."""
        return self._gather(self.table.detach()[head : head + 1])[0]

    def _gather(self, table: Tensor) -> Tensor:
        w, side = self.window_size, 2 * self.window_size - 1
        grid = table.view(-1, side, side)
        # pairs[h, i, j, a, b] = grid[h, i + a, j + b], which is key minus query for i = w - 1 - query row.
        pairs = grid.unfold(1, w, 1).unfold(2, w, 1).flip(1, 2)
        return pairs.reshape(-1, w * w, w * w)


@dataclass(frozen=True)
class FactorBias:
    """A bias of low rank: the product of query factors and key factors.

    Attributes:
        query_factors: Factors of the queries, (heads, queries, rank).
        key_factors: Factors of the keys, (heads, keys, rank).

    Source: FlashBias (arXiv 2505.12044), section 3.
    """

    query_factors: Tensor
    key_factors: Tensor

    @property
    def needs_gradient(self) -> bool:
        """Whether the factors are being trained."""
        return self.query_factors.requires_grad and torch.is_grad_enabled()

    def dense(self, dtype: torch.dtype) -> Tensor:
        """Return the product of the factors, (heads, queries, keys)."""
        return self.made_anew(dtype)

    def made_anew(self, dtype: torch.dtype) -> Tensor:
        """Return the product of the factors, which is never cached."""
        return (self.query_factors @ self.key_factors.transpose(-2, -1)).to(dtype)
