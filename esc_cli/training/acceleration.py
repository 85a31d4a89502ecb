"""Make training steps faster. The results change only by rounding.

The parts for a CUDA device were written and tested without one: how much each of them gains is not known yet.
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
"""A training step: it takes the tensors of a batch, updates the weights and returns the loss."""

_UNRECORDED_STEPS = 3
"""Steps before recording, in which the compiler and cuDNN choose kernels: as many as in PyTorch's notes."""

_STEPS_AHEAD = 2
"""Steps that Python may be ahead of the device. With more, the clock would not tell how far the run is."""


@contextmanager
def tuned_convolutions() -> Iterator[None]:
    """Let cuDNN benchmark its kernels for each new tensor shape and use the fastest one."""
    before = cudnn.benchmark
    cudnn.benchmark = True
    try:
        yield
    finally:
        cudnn.benchmark = before


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let the CPU treat numbers that are too small for full precision as zero.

    It computes with such numbers many times slower. GELU and its gradient have them wherever an input is far
    below zero, so that a step of ESC x3 on one core takes 0.95 of the time without them. The setting is that
    of this thread. The threads that torch starts inside inherit it, and keep it.
    """
    flushes = torch.set_flush_denormal(True)  # False if the processor cannot do it
    try:
        yield
    finally:
        if flushes:
            torch.set_flush_denormal(False)


def compile_blocks(network: nn.Module, backend: str | Callable[..., Any] = "inductor") -> None:
    """Compile the blocks of a network instead of the whole network: one compilation serves all blocks.

    Args:
        network: A network whose ``blocks`` are alike. They are compiled when they are first called.
        backend: Backend of ``torch.compile``.
    """
    for block in network.get_submodule("blocks").children():
        block.compile(fullgraph=True, dynamic=False, backend=backend)


def set_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate. A rate that is a tensor is changed in place, where a recorded step reads it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_capturable(optimizer: Optimizer, capturable: bool) -> None:
    """Prepare an optimizer for recording, which makes its learning rate a tensor, or undo that."""
    for group in optimizer.param_groups:
        rate = float(group["lr"])
        group["capturable"] = capturable
        group["lr"] = torch.tensor(rate, device=group["params"][0].device) if capturable else rate


class RecordedStep:
    """A step that is recorded as a CUDA graph and then replayed, which launches thousands of kernels at once.

    Args:
        learn: The step. It must not wait for the device, and all its tensors except the batch must stay at
            the same addresses. It must make the gradients itself and keep none from the step before.
        optimizer: Optimizer that the step uses. It must be fused, so that its step counter is on the device.
        device: Device of the network and the optimizer.

    Source: PyTorch's notes on CUDA semantics, "CUDA Graphs", "Whole-network capture".
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
        """Take a step on a batch and return a copy of the loss. All batches must have the same shapes."""
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
        """Record the step without taking it."""
        self._batch = tuple(map(torch.empty_like, batch))
        set_capturable(self._optimizer, True)
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            return self._learn(*self._batch)

    def _wait(self) -> None:
        """Wait until the device is at most ``_STEPS_AHEAD`` steps behind."""
        self._ends.append(self._stream.record_event())
        if len(self._ends) > _STEPS_AHEAD:
            self._ends.popleft().synchronize()
