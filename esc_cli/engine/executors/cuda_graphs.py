"""CUDA graphs, which launch a network's hundreds of kernels at once, for shapes that recur.

``torch.cuda.make_graphed_callables`` is made for training: it holds one shape, returns memory that the next
call overwrites, and leaves another stream current if a capture fails. Therefore this module uses
``torch.cuda.graph`` directly.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

from esc_cli.errors import first_line

Call = Callable[[Tensor], Tensor]
"""A network or a replacement for it, from (N, 3, H, W) to (N, 3, scale H, scale W)."""

Record = Callable[[Call, Tensor, Call | None], Call]
"""Makes a recording from a network, an input of the shape to record, and a recording to share memory with."""

MOST_SHAPES = 4
"""Number of shapes that the tiles of one picture can have: inner, last in a row, last in a column, corner."""


_Key = tuple[torch.Size, torch.dtype]


class CudaGraphCall:
    """A network's call on inputs of one shape and type, recorded as a CUDA graph.

    Args:
        network: Network to record. It must neither wait for the device nor branch on computed values. It is
            called once before the recording. Its weights, and what it keeps from that call, must stay at
            their addresses for as long as the recording lives.
        low: An input on a CUDA device. It is not modified.
        beside: Another recording to share memory with, or None. The two may then be called in any order, but
            not on two streams at a time.

    Raises:
        RuntimeError: The call cannot be recorded. The reason may be a lack of memory, for which torch does
            not always raise its own error type (pytorch pull request 187795).

    Source: pytorch's notes on CUDA semantics, sections "CUDA Graphs" and "Graph memory management".
    """

    def __init__(self, network: Call, low: Tensor, beside: Call | None = None) -> None:
        self._graph = torch.cuda.CUDAGraph()
        sharing = beside if isinstance(beside, CudaGraphCall) else None
        self._stream: torch.cuda.Stream = (
            sharing._stream if sharing else torch.cuda.Stream(low.device)  # type: ignore[no-untyped-call]
        )
        with torch.inference_mode(mode=False):  # A tensor made in inference mode is read-only outside of it.
            self._low = torch.empty_like(low)
        self._low.copy_(low)
        current = torch.cuda.current_stream(low.device)
        self._stream.wait_stream(current)
        self._record(network, sharing)
        current.wait_stream(self._stream)

    def _record(self, network: Call, sharing: "CudaGraphCall | None") -> None:
        graph = torch.cuda.graph(
            self._graph,
            pool=sharing._graph.pool() if sharing else None,
            stream=self._stream,
            # Other threads may continue. The default mode forbids them many CUDA calls.
            capture_error_mode="thread_local",
        )
        # The stream is set here as well because a capture that fails to end does not restore it.
        with torch.cuda.device(self._low.device), torch.cuda.stream(self._stream), torch.no_grad():
            network(self._low)  # Set up what must not be recorded: workspaces, tuning, gathered biases.
            with graph:
                self._high = network(self._low)

    def __call__(self, low: Tensor) -> Tensor:
        """Replay the recording. The result belongs to the caller, and later calls do not overwrite it."""
        self._low.copy_(low)
        self._graph.replay()
        return self._high.clone()


class GraphedNetwork:
    """A network that records its call on a shape when the shape comes for the second time, and replays it.

    The recordings hold the memory of their activations and share it. When memory runs out or a call cannot be
    recorded, all recordings are dropped for good. The network then runs as if this class did not exist,
    out-of-memory errors included.

    Args:
        network: Network on one CUDA device, with constant weights.
        record: Makes recordings.
        most_shapes: Largest number of recordings. The least recently used is dropped first.

    Attributes:
        refusal: Reason why nothing is recorded any more, or None.
    """

    def __init__(self, network: Call, record: Record = CudaGraphCall, most_shapes: int = MOST_SHAPES) -> None:
        self.refusal: str | None = None
        self._network = network
        self._record = record
        self._most_shapes = most_shapes
        # None means that the shape came once and is not recorded. The most recently used shape is last.
        self._recordings: OrderedDict[_Key, Call | None] = OrderedDict()

    def __call__(self, low: Tensor) -> Tensor:
        """Run the network.

        Args:
            low: (N, 3, H, W), on the network's device and of its type. It is not modified.

        Returns:
            (N, 3, scale H, scale W). The tensor belongs to the caller.

        Raises:
            torch.OutOfMemoryError: There is not enough memory, even without recordings.
        """
        key = _key(low)
        high = None
        if key in self._recordings:
            high = self._attempt(self._replay, low)
        elif any(self._recordings.values()):
            high = self._attempt(self._network, low)
        if high is None:
            high = self._network(low)
        if self.refusal is None:
            self._see(key)
        return high

    def release(self) -> None:
        """Drop all recordings to free their memory."""
        self._recordings.clear()

    def _see(self, key: _Key) -> None:
        """Mark a shape as the most recently used, and drop the least recently used if there are too many."""
        self._recordings.setdefault(key, None)
        self._recordings.move_to_end(key)
        if len(self._recordings) > self._most_shapes:
            self._recordings.popitem(last=False)

    def _replay(self, low: Tensor) -> Tensor:
        """Replay the recording for an input. Make the recording first if there is none."""
        recording = self._recordings[_key(low)]
        if recording is None:
            beside = next(filter(None, self._recordings.values()), None)
            recording = self._recordings[_key(low)] = self._record(self._network, low, beside)
        return recording(low)

    def _attempt(self, run: Call, low: Tensor) -> Tensor | None:
        """Run a recording, or the network while recordings hold memory. On failure, drop all recordings.

        Returns:
            The result, or None on failure.
        """
        try:
            return run(low)
        except RuntimeError as error:
            self.refusal = first_line(error)
        # The handler must end first: until then, the error keeps the failed run's tensors alive.
        self.release()
        return None


def _key(low: Tensor) -> _Key:
    return low.shape, low.dtype
