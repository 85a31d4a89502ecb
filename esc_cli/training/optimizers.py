"""Optimizers: AdamW for all weights, or Muon for the kernels of the hidden layers."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from esc_cli.training.configuration import TrainingConfig

SMALLEST_SIDE = 16
"""AdamW moves kernels with fewer channels, in or out: they are too small to be worth orthogonalising."""


class Optimizer(Protocol):
    """The part of torch's optimizers that a run uses."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters, each with its learning rate under ``lr``."""
        ...

    def zero_grad(self) -> None:
        """Forget the gradients."""
        ...

    def step(self) -> Any:
        """Move the parameters by their gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Give what a resumed run needs."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        ...


def make_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """Make the optimizer of a run.

    Args:
        network: On its device, in the memory layout that it keeps.
        config: Of the run.
    """
    if config.optimizer == "muon":
        return KernelMuon(network, config)
    return _adamw(list(network.parameters()), config)


class KernelMuon:
    """Muon for the convolution kernels inside the blocks, AdamW for all else.

    torch's Muon takes matrices alone, so each kernel is shown to it as one: a row for each channel out, the
    memory shared. Updates are as large as AdamW's, so that one learning rate does for both.

    Source: Muon (Jordan, 2024, kellerjordan.github.io/posts/muon); the size of its updates: Moonlight (arXiv
    2502.16982), section 2.2.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self._kernels = list(_kernels_of(network))
        self._matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in self._kernels]
        chosen = {id(kernel) for kernel in self._kernels}
        others = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
        self._muon = torch.optim.Muon(
            self._matrices,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = _adamw(others, config)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of both."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for kernel in self._kernels:
            kernel.grad = None
        self._adamw.zero_grad()

    def step(self) -> None:
        """Move the parameters by their gradients."""
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Give what a resumed run needs."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take what ``state_dict`` gave."""
        self._muon.load_state_dict(state_dict["muon"])
        self._adamw.load_state_dict(state_dict["adamw"])


def _adamw(parameters: list[nn.Parameter], config: TrainingConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters,
        lr=config.learning_rate,
        betas=config.betas,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _kernels_of(network: nn.Module) -> Iterator[nn.Parameter]:
    """List the kernels that mix many channels; the first and the last layer are no hidden ones."""
    for name, parameter in network.named_parameters():
        hidden = name.startswith(("blocks.", "last."))
        if hidden and parameter.ndim == 4 and min(parameter.shape[:2]) >= SMALLEST_SIDE:
            yield parameter


def _as_matrix(kernel: Tensor) -> Tensor:
    """Show (out, in, k, k) as (out, k k in): the same memory, where that is channels-last."""
    return kernel.movedim(1, -1).reshape(len(kernel), -1)
