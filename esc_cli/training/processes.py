"""Train one network in several processes, each with its own device, which ``torchrun`` starts."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from esc_cli.errors import DeviceError


@dataclass(frozen=True)
class Processes:
    """The place of this process among the processes of a run. By default there is only one.

    Attributes:
        rank: Number of this process. The first process, 0, writes the files.
        count: Number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints messages."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """Return the numbers of a step's samples that belong to this process."""
        return range(self.rank, batch_size, self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one device and dtype by their sums over all processes, in one message.

        Training needs nothing else: each loss is a share of one mean, so the sum of the gradients is the
        gradient of the whole batch. DistributedDataParallel would overlap the message with the backward pass,
        but it would average the gradients.

        Raises:
            DeviceError: Another process has ended.
        """
        if self.count == 1:
            return
        message = torch.cat([tensor.flatten() for tensor in tensors])
        with _translated_errors():
            distributed.all_reduce(message)
        parts = torch.split(message, [tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view(tensor.shape))

    def from_first(self, number: float, device: torch.device) -> float:
        """Return, in every process, the number that the first one passed.

        Raises:
            DeviceError: Another process has ended.
        """
        if self.count == 1:
            return number
        message = torch.tensor(number, device=device)
        with _translated_errors():
            distributed.broadcast(message, src=0)
        return float(message)


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """Join the processes that ``torchrun`` has started, or yield a single process if it has not.

    Source: PyTorch's elastic launch, which sets rank and number of processes in environment variables.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


def is_first_process() -> bool:
    """Return whether this process writes files and prints messages."""
    return os.environ.get("RANK", "0") == "0"


def own_device(request: str) -> str:
    """Return this process's GPU if ``torchrun`` started it and the request is for a GPU without a number."""
    local_rank = os.environ.get("LOCAL_RANK")
    wanted = request == "cuda" or (request == "auto" and torch.cuda.is_available())
    return f"cuda:{local_rank}" if local_rank is not None and wanted else request


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo has no exception type of its own
        raise DeviceError("another process of the run has ended") from error
