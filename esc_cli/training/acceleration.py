"""Ways to make a training step faster on a CUDA device; they change nothing but rounding.

Written and tried without such a device: how much each part gains is not known yet.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.backends import cudnn

from esc_cli.training.optimizers import Optimizer

Learn = Callable[..., Tensor]
"""Takes a step on a batch, some tensors: forward, backward, new weights. Gives the loss."""

_UNRECORDED_STEPS = 3
"""Steps before the recording, in which compiler and cuDNN choose kernels: as many as in pytorch's notes."""

_STEPS_AHEAD = 2
"""Steps that Python may be ahead of the device: further, and the clock would say nothing about the run."""


@contextmanager
def tuned_convolutions() -> Iterator[None]:
    """Let cuDNN try its kernels for each shape that it meets, and keep to the fastest."""
    before = cudnn.benchmark
    cudnn.benchmark = True
    try:
        yield
    finally:
        cudnn.benchmark = before


def compile_blocks(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the blocks of a network, not the whole: one compilation serves them all.

    Args:
        network: With ``blocks`` that are alike; they are compiled when they are first called.
        backend: Of ``torch.compile``.
    """
    for block in network.get_submodule("blocks").children():
        block.compile(fullgraph=True, dynamic=False, backend=backend)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate; where it is a tensor, in its place, from where a recorded step reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_capturable(optimizer: Optimizer, capturable: bool) -> None:
    """Make an optimizer ready to be recorded, its rate a tensor, or make it an ordinary one again."""
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["capturable"] = capturable
        group["lr"] = torch.tensor(rate, device=group["params"][0].device) if capturable else rate


class RecordedStep:
    """A step that is recorded as a CUDA graph and then replayed: thousands of kernels launched at once.

    Args:
        learn: The step. It must not wait for the device, and must find all but the batch where it was the
            time before. Gradients are made inside, not kept.
        optimizer: What it moves the weights with; fused, so that its count of steps is on the device.
        device: Of both.

    Source: pytorch's notes on CUDA semantics, "CUDA Graphs", "Whole-network capture".
    """

    def __init__(self, learn: Learn, optimizer: Optimizer, device: torch.device) -> None:
        self._learn = learn
        self._optimizer = optimizer
        self._graph = torch.cuda.CUDAGraph()
        self._stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._ends: deque[torch.cuda.Event] = deque()
        self._unrecorded = _UNRECORDED_STEPS
        self._batch: tuple[Tensor, ...] = ()
        self._loss: Tensor | None = None

    def __call__(self, *batch: Tensor) -> Tensor:
        """Take a step on a batch, always of the same shapes; give the loss, the caller's own."""
        current = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            loss = self._run(batch)
        current.wait_stream(self._stream)
        self._wait()
        return loss

    def _run(self, batch: tuple[Tensor, ...]) -> Tensor:
        if self._unrecorded:
            self._unrecorded -= 1
            return self._learn(*batch)
        if self._loss is None:
            self._loss = self._record(batch)
        for kept, given in zip(self._batch, batch, strict=True):
            kept.copy_(given)
        self._graph.replay()
        return self._loss.clone()

    def _record(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Record the step, which does not take it."""
        self._batch = tuple(map(torch.empty_like, batch))
        set_capturable(self._optimizer, True)
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            return self._learn(*self._batch)

    def _wait(self) -> None:
        """Wait for the device to come near."""
        self._ends.append(self._stream.record_event())
        if len(self._ends) > _STEPS_AHEAD:
            self._ends.popleft().synchronize()
