"""Results on their way to the host, while the device computes on."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

IN_FLIGHT = 2
"""Pieces on their way at a time: one on the bus, one being written to its place."""

PIECE_BYTES = 16 * 2**20
"""Of pinned memory for a piece: what is pinned, the system cannot use otherwise, and pinning takes time."""


class Download:
    """Brings finished blocks from a device to their places on the host.

    On CUDA a block goes piece by piece into pinned memory, on a stream beside the network's, and from there
    to its place, in a thread: neither the network nor who calls it waits. Elsewhere it is copied at once.
    Used as a context, at whose end everything has arrived.

    Args:
        device: Where the blocks lie.

    Source: pytorch's notes on CUDA semantics, "CUDA streams" and "Use pinned memory buffers".
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = _new_stream(device) if device.type == "cuda" else None
        self._thread = ThreadPoolExecutor(1, "download")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        while error is None and self._pending:
            self._pending.popleft().result()

    def put(self, block: Tensor, place: Tensor) -> None:
        """Send a block on its way.

        Args:
            block: Any shape of at least two dimensions, on the device; must not be written to afterwards, but
                may be forgotten.
            place: The same shape and type, on the host; has the block's values at the end of the context.
        """
        if self._stream is None:
            place.copy_(block)
            return
        rows = rows_per_piece(block)
        for piece, target in zip(
            torch.split(block, rows, dim=-2), torch.split(place, rows, dim=-2), strict=True
        ):
            while len(self._pending) >= IN_FLIGHT:
                self._pending.popleft().result()
            staged, arrival = _stage(piece, self._stream)
            self._pending.append(self._thread.submit(_land, staged, arrival, target))


def rows_per_piece(block: Tensor) -> int:
    """Give the rows of (..., H, W) that ``PIECE_BYTES`` hold, at least one."""
    row_bytes = block.nbytes // block.shape[-2]
    return max(1, PIECE_BYTES // max(1, row_bytes))


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _stage(piece: Tensor, stream: torch.cuda.Stream) -> tuple[Tensor, torch.cuda.Event]:
    """Start copying to pinned memory; the event tells when it is done."""
    stream.wait_stream(torch.cuda.current_stream(piece.device))
    with torch.cuda.stream(stream):
        staged = torch.empty(piece.shape, dtype=piece.dtype, pin_memory=True)  # torch keeps it for the next
        staged.copy_(piece, non_blocking=True)
        piece.record_stream(stream)  # or its memory would be given away before it is read
        return staged, stream.record_event()


def _land(staged: Tensor, arrival: torch.cuda.Event, place: Tensor) -> None:
    arrival.synchronize()
    with torch.inference_mode():  # It is a thread's own, and ``staged`` may have been made in it.
        place.copy_(staged)
