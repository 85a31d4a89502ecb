"""Several processes that train one network together, a device each, as ``torchrun`` starts them."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed

from esc_cli.errors import DeviceError


@dataclass(frozen=True)
class Processes:
    """This process among those of a run; by default it is alone.

    Attributes:
        rank: Its number; the first one, 0, writes.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and talks."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """Give the numbers of the samples that are this process's, of those of a step."""
        return range(self.rank, batch_size, self.count)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors of one device and type by their sums over all processes, in one message.

        That is all that training needs: the losses are shares of one mean, so that their gradients' sum is
        the whole batch's. DistributedDataParallel would overlap it with the backward pass, and average.

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

    def first_ones(self, number: float, device: torch.device) -> float:
        """Give all processes the first one's number.

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
    """Join the processes that ``torchrun`` has started, or be alone where it has not.

    Source: torch's elastic launch: it tells rank and number of processes by the environment.
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
    """Whether this process is the one that writes and talks."""
    return os.environ.get("RANK", "0") == "0"


def own_device(request: str) -> str:
    """Name this process's GPU where several processes of a machine ask for one without its number."""
    local_rank = os.environ.get("LOCAL_RANK")
    wanted = request == "cuda" or (request == "auto" and torch.cuda.is_available())
    return f"cuda:{local_rank}" if local_rank is not None and wanted else request


@contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # gloo has no type of its own
        raise DeviceError("another process of the run has ended") from error
