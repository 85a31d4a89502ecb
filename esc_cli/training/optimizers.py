"""Optimizers: AdamW for all weights, or Muon for the kernels of the hidden layers."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from esc_cli.training.configuration import TrainingConfig

SMALLEST_SIDE = 16
"""Kernels with fewer input or output channels are left to AdamW: orthogonalizing them is not worthwhile."""


class Optimizer(Protocol):
    """The part of PyTorch's optimizer interface that a run uses."""

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Groups of parameters, each with its learning rate under ``lr``."""
        ...

    def zero_grad(self) -> None:
        """Reset the gradients."""
        ...

    def step(self) -> Any:
        """Update the parameters by their gradients."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that ``state_dict`` returned."""
        ...


def make_optimizer(network: nn.Module, config: TrainingConfig) -> Optimizer:
    """Make the optimizer of a run.

    Args:
        network: The network, already on its device and in its final memory layout.
        config: Configuration of the run.
    """
    if config.optimizer == "muon":
        return KernelMuon(network, config)
    return _adamw(list(network.parameters()), config)


class KernelMuon:
    """Muon for the convolution kernels of the hidden layers, AdamW for all other weights.

    PyTorch's Muon accepts only matrices, so it gets each kernel as a matrix with one row for each output
    channel, which shares the kernel's memory. Its updates are as large as AdamW's, so both use the same
    learning rate.

    Source: Muon (Jordan, 2024, kellerjordan.github.io/posts/muon). The size of the updates is from Moonlight
    (arXiv 2502.16982), section 2.2.
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
        """Groups of both optimizers."""
        return [*self._muon.param_groups, *self._adamw.param_groups]

    def zero_grad(self) -> None:
        """Reset the gradients."""
        for kernel in self._kernels:
            kernel.grad = None
        self._adamw.zero_grad()

    def step(self) -> None:
        """Update the parameters by their gradients."""
        for matrix, kernel in zip(self._matrices, self._kernels, strict=True):
            matrix.grad = None if kernel.grad is None else _as_matrix(kernel.grad)
        self._muon.step()  # type: ignore[no-untyped-call]
        self._adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run needs."""
        return {"muon": self._muon.state_dict(), "adamw": self._adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state that ``state_dict`` returned."""
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
    """Yield the kernels of hidden layers that mix many channels. The first and last layers are not hidden."""
    for name, parameter in network.named_parameters():
        hidden = name.startswith(("blocks.", "last."))
        if hidden and parameter.ndim == 4 and min(parameter.shape[:2]) >= SMALLEST_SIDE:
            yield parameter


def _as_matrix(kernel: Tensor) -> Tensor:
    """Reshape (out, in, k, k) to (out, k * k * in), as a view if the kernel is channels-last in memory."""
    return kernel.movedim(1, -1).reshape(len(kernel), -1)
