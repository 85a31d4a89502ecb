"""Test that Muon updates the kernels inside the blocks and AdamW updates the rest."""

import copy
import dataclasses

import pytest
import torch

from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.optimizers import StackedMuon
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


def test_stacked_matrices_move_as_pytorch_moves_them_one_by_one() -> None:
    torch.manual_seed(0)
    shapes = [(32, 16), (16, 32), (16, 16), (16, 16), (20, 16), (16, 144)]
    stacked, plain = ([torch.nn.Parameter(torch.ones(shape)) for shape in shapes] for _ in range(2))
    ours = StackedMuon(stacked, lr=RATE, weight_decay=0.1)
    theirs = torch.optim.Muon(plain, lr=RATE, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for step in range(6):
        for one, other in zip(stacked[:5], plain[:5], strict=True):  # the last has no gradient
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        ours.step()
        theirs.step()
        for one, other in zip(stacked, plain, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0.02 * RATE)
        if step == 2:  # either can take over the state of the other
            ours.load_state_dict(copy.deepcopy(theirs.state_dict()))
    assert torch.equal(stacked[5], torch.ones(16, 144))
    assert not torch.equal(stacked[0], torch.ones(32, 16))
