"""Optimizers: AdamW for all weights, or Muon for the kernels of the hidden layers."""

import math
from collections.abc import Iterator, Sequence
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
        network: The network, already on its device. Its kernels must be channels-last in memory for Muon.
        config: Configuration of the run.
    """
    if config.optimizer == "muon":
        return KernelMuon(network, config)
    return _adamw(list(network.parameters()), config)


class StackedMuon(torch.optim.Muon):
    """PyTorch's Muon, computed for all matrices of a shape at once.

    Updates and state are those of PyTorch's Muon, which takes one matrix after another: for the 121 small
    matrices of ESC that takes 5 times as long on a core. ``nesterov`` and ``adjust_lr_fn`` are ignored; the
    momentum is Nesterov's, and the updates are as large as those of AdamW.

    Source: ``torch.optim.Muon``. The size of the updates is from Moonlight (arXiv 2502.16982), section 2.2.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices that have a gradient."""
        for group in self.param_groups:
            matrices = [matrix for matrix in group["params"] if matrix.grad is not None]
            directions = self._directions(matrices, group["momentum"])
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            for places in _places_by_shape(matrices):
                stack = torch.stack([_wide(directions[place]) for place in places])
                updates = _orthogonalized(stack, group["ns_coefficients"], group["ns_steps"], group["eps"])
                rate = 0.2 * math.sqrt(max(stack.shape[1:])) * group["lr"]
                torch._foreach_add_([_wide(matrices[place]) for place in places], list(updates), alpha=-rate)

    def _directions(self, matrices: list[Tensor], momentum: float) -> list[Tensor]:
        """Update the momenta, and return the directions of Nesterov's momentum."""
        gradients: list[Tensor] = [matrix.grad for matrix in matrices]  # type: ignore[misc]
        for matrix, gradient in zip(matrices, gradients, strict=True):
            if "momentum_buffer" not in self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(gradient)
        momenta: list[Tensor] = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - momentum)
        return list(torch._foreach_lerp(gradients, momenta, momentum))


def _places_by_shape(matrices: list[Tensor]) -> list[list[int]]:
    """Group the places of matrices in a list by their shape, upright and wide ones together."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, matrix in enumerate(matrices):
        places.setdefault(tuple(_wide(matrix).shape), []).append(place)
    return list(places.values())


def _wide(matrix: Tensor) -> Tensor:
    return matrix.T if matrix.shape[0] > matrix.shape[1] else matrix


def _orthogonalized(stack: Tensor, coefficients: Sequence[float], steps: int, epsilon: float) -> Tensor:
    """Bring the singular values of wide matrices (M, rows, columns) near to 1, in bfloat16.

    Source: Newton-Schulz iteration of Muon (Jordan, 2024, kellerjordan.github.io/posts/muon).
    """
    a, b, c = coefficients
    matrices = stack.bfloat16()
    matrices = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=epsilon)
    for _ in range(steps):
        gram = matrices @ matrices.mT  # (M, rows, rows)
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        matrices = torch.baddbmm(matrices, polynomial, matrices, beta=a)
    return matrices


class KernelMuon:
    """Muon for the convolution kernels of the hidden layers, AdamW for all other weights.

    Muon accepts only matrices, so it gets each kernel as a matrix with one row for each output channel, which
    shares the kernel's memory. Its updates are as large as AdamW's, so both use the same learning rate.
    """

    def __init__(self, network: nn.Module, config: TrainingConfig) -> None:
        self._kernels = list(_kernels_of(network))
        self._matrices = [nn.Parameter(_as_matrix(kernel.detach())) for kernel in self._kernels]
        chosen = {id(kernel) for kernel in self._kernels}
        others = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
        self._muon = StackedMuon(
            self._matrices,
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
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
        self._muon.step()
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
    """View (out, in, k, k), channels-last in memory, as (out, k * k * in)."""
    return kernel.movedim(1, -1).flatten(1)
