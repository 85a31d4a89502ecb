"""Copy results to the host while the device continues to compute."""

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import torch
from torch import Tensor

IN_FLIGHT = 2
"""Number of pieces in flight: one on the bus, and one being written to its place."""

PIECE_BYTES = 16 * 2**20
"""Pinned memory for a piece. The system cannot use it for anything else, and pinning takes time."""


class Download:
    """Copy finished blocks from a device to their places on the host.

    On CUDA a block is copied piece by piece into pinned memory, on a separate stream, and from there to its
    place in a separate thread. Neither the network nor its caller waits. On other devices a block is copied
    at once. Use this class as a context manager: at the end of the context, all blocks have arrived.

    Args:
        device: Device of the blocks.

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
        """Start to copy a block.

        Args:
            block: Any shape of at least two dimensions, on the device. It must not be modified afterwards,
                but need not be kept.
            place: Same shape and type, on the host. It has the block's values at the end of the context.
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
    """Return how many rows of (..., H, W) fit in ``PIECE_BYTES``, at least one."""
    row_bytes = block.nbytes // block.shape[-2]
    return max(1, PIECE_BYTES // max(1, row_bytes))


def _new_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _stage(piece: Tensor, stream: torch.cuda.Stream) -> tuple[Tensor, torch.cuda.Event]:
    """Start to copy a piece to pinned memory. Return the copy and the event of its completion."""
    stream.wait_stream(torch.cuda.current_stream(piece.device))
    with torch.cuda.stream(stream):
        staged = torch.empty(piece.shape, dtype=piece.dtype, pin_memory=True)  # torch reuses the memory
        staged.copy_(piece, non_blocking=True)
        piece.record_stream(stream)  # else its memory may be reused before it is read
        return staged, stream.record_event()


def _land(staged: Tensor, arrival: torch.cuda.Event, place: Tensor) -> None:
    arrival.synchronize()
    with torch.inference_mode():  # Each thread has its own mode, and ``staged`` may be an inference tensor.
        place.copy_(staged)
