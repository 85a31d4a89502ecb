"""Test that Muon updates the kernels inside the blocks and AdamW updates the rest."""

import dataclasses

import pytest
import torch

from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.run import Run, new_run

RATE = 1e-3
CONFIG = TrainingConfig(variant="tiny", optimizer="muon", learning_rate=RATE)


@pytest.fixture
def run() -> Run:
    run = new_run(CONFIG, torch.device("cpu"))
    run.network(torch.rand(2, 3, 8, 8)).square().mean().backward()
    return run


def step_of(run: Run) -> dict[str, torch.Tensor]:
    before = {name: weights.clone() for name, weights in run.network.state_dict().items()}
    run.optimizer.step()
    return {name: weights - before[name] for name, weights in run.network.state_dict().items()}


def test_kernels_move_by_all_directions_alike(run: Run) -> None:
    update = step_of(run)["blocks.0.conv_out.weight"].flatten(1)  # 16 rows of 144
    lengths = torch.linalg.svdvals(update) / (RATE * 0.2 * 144**0.5)
    assert float(lengths.min()) > 0.4
    assert float(lengths.max()) < 1.4


def test_the_rest_moves_as_adamw_moves_it(run: Run) -> None:
    plain = new_run(dataclasses.replace(CONFIG, optimizer="adamw"), torch.device("cpu"))
    for own, other in zip(run.network.parameters(), plain.network.parameters(), strict=True):
        other.grad = None if own.grad is None else own.grad.clone()
    steps, expected = step_of(run), step_of(plain)
    for name in (
        "to_img.weight",
        "plk_filter",
        "proj.weight",
        "blocks.0.ln_out.bias",
        "blocks.0.proj.dwc.weight",
    ):
        assert torch.equal(steps[name], expected[name])
    assert not torch.equal(steps["last.weight"], expected["last.weight"])
    gradients = {name: one.grad for name, one in run.network.named_parameters()}
    still = {name for name, one in steps.items() if not one.any()}
    assert still == {name for name, one in gradients.items() if one is None or not one.any()}


def test_gradients_are_forgotten(run: Run) -> None:
    run.optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in run.network.parameters())
