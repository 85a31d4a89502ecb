"""CUDA graphs: a network's hundreds of kernels launched at once, for shapes that come again.

``torch.cuda.make_graphed_callables`` is made for training: it holds one shape, answers with the memory that
the next call overwrites, and leaves another stream current where a capture fails. So ``torch.cuda.graph``
is used directly.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor

Call = Callable[[Tensor], Tensor]
"""A network, or what stands for it: (N, 3, H, W) to (N, 3, scale H, scale W)."""

Record = Callable[[Call, Tensor, Call | None], Call]
"""Takes a network, an input and a recording to share memory with; gives the recording for such inputs."""

MOST_SHAPES = 4
"""As many as the tiles of one picture can have: inner, last in a row, last in a column, the corner."""


_Key = tuple[torch.Size, torch.dtype]


class CudaGraphCall:
    """A network's call on inputs of one shape and type, recorded on the device.

    Args:
        network: What to record. It must neither wait for the device nor branch on what it computes. Its
            weights, and what it keeps from its first call (it is called once before), must stay where they
            are for as long as the recording lives.
        low: An input on a CUDA device; not written to.
        beside: Another recording, with which to share memory, or None. Both may then be called in any
            order, but not on two streams at a time.

    Raises:
        RuntimeError: The call cannot be recorded; for want of memory too, and not always by torch's own
            type for that (pytorch pull request 187795).

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
            # Other threads may go on: the default forbids them much of what CUDA can do.
            capture_error_mode="thread_local",
        )
        # The stream is set here as well because a capture that fails to end does not set it back.
        with torch.cuda.device(self._low.device), torch.cuda.stream(self._stream), torch.no_grad():
            network(self._low)  # Sets up what must not be recorded: workspaces, tuning, gathered biases.
            with graph:
                self._high = network(self._low)

    def __call__(self, low: Tensor) -> Tensor:
        """Run the recording; the result is the caller's own, and stays as it is."""
        self._low.copy_(low)
        self._graph.replay()
        return self._high.clone()


class GraphedNetwork:
    """A network that records its call on a shape when that comes for the second time, and then replays it.

    Recordings hold the memory of their activations, one memory for all. When memory runs out, or a call
    cannot be recorded, they are given up for good: the network then runs as if this class were not there,
    out-of-memory errors included.

    Args:
        network: On one CUDA device, with constant weights.
        record: Makes recordings.
        most_shapes: Of recordings; the least recently used goes first.

    Attributes:
        refusal: Why nothing is recorded any more, or None.
    """

    def __init__(self, network: Call, record: Record = CudaGraphCall, most_shapes: int = MOST_SHAPES) -> None:
        self.refusal: str | None = None
        self._network = network
        self._record = record
        self._most_shapes = most_shapes
        # None: seen once, not recorded. The most recently used comes last.
        self._recordings: OrderedDict[_Key, Call | None] = OrderedDict()

    def __call__(self, low: Tensor) -> Tensor:
        """Run the network.

        Args:
            low: (N, 3, H, W), on the network's device, of its type; not written to.

        Returns:
            (N, 3, scale H, scale W), the caller's own.

        Raises:
            torch.OutOfMemoryError: Memory does not suffice, even without recordings.
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
        """Forget all recordings, so that others can have their memory."""
        self._recordings.clear()

    def _see(self, key: _Key) -> None:
        """Remember that a shape came, and forget the one that did not for the longest time."""
        self._recordings.setdefault(key, None)
        self._recordings.move_to_end(key)
        if len(self._recordings) > self._most_shapes:
            self._recordings.popitem(last=False)

    def _replay(self, low: Tensor) -> Tensor:
        """Replay the recording for an input, after making it if need be."""
        recording = self._recordings[_key(low)]
        if recording is None:
            beside = next(filter(None, self._recordings.values()), None)
            recording = self._recordings[_key(low)] = self._record(self._network, low, beside)
        return recording(low)

    def _attempt(self, run: Call, low: Tensor) -> Tensor | None:
        """Run a recording, or something beside recordings; None, and no more of them, if that fails."""
        try:
            return run(low)
        except RuntimeError as error:
            self.refusal = str(error).partition("\n")[0]
        # Not in the handler: until it ends, the error keeps the failed run's tensors alive.
        self.release()
        return None


def _key(low: Tensor) -> _Key:
    return low.shape, low.dtype
