"""Test that one compilation serves all blocks, and that recorded steps and rates act like plain ones."""

import copy
import dataclasses
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.backends import cudnn

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.networks.architectures.esc import ESC, ESCConfig
from esc_cli.training.acceleration import (
    compile_blocks,
    flushed_denormals,
    set_capturable,
    set_rate,
    tuned_convolutions,
)
from esc_cli.training.configuration import TrainingConfig
from esc_cli.training.loop import train
from esc_cli.training.run import new_run

THREE_BLOCKS = ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=3, mixers=2, window_size=8, kernel_size=5)
CONFIG = TrainingConfig(
    variant="tiny", steps=8, batch_size=2, patch_px=8, schedule="cosine", validation_pictures=2
)


@pytest.mark.filterwarnings("ignore")  # torch causes and hides warnings while it compiles
def test_one_compilation_without_a_break_serves_all_blocks() -> None:
    network = ESC(THREE_BLOCKS)
    compiled, low = copy.deepcopy(network), torch.rand(1, 3, 16, 16)
    counter = CompileCounter()
    compile_blocks(compiled, backend=counter)
    for one in (network, compiled):
        one(low).square().mean().backward()
    assert counter.frame_count == 1
    weights = zip(network.parameters(), compiled.parameters(), strict=True)
    for plain, other in weights:
        torch.testing.assert_close(other.grad, plain.grad, rtol=1e-3, atol=1e-5)
    assert compiled.state_dict().keys() == network.state_dict().keys()


def test_denormals_are_zero_inside_only() -> None:
    smallest = torch.tensor([1e-38])
    with flushed_denormals():
        assert (smallest / 16).item() == 0
    assert (smallest / 16).item() > 0


def test_convolutions_are_tuned_for_a_while() -> None:
    before = cudnn.benchmark
    with tuned_convolutions():
        assert cudnn.benchmark
    assert cudnn.benchmark == before


@pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True")
def test_a_rate_in_a_tensor_moves_weights_alike() -> None:
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 8)) for _ in range(2)]
    optimizers = [torch.optim.AdamW([one], betas=(0.9, 0.9), fused=True) for one in weights]
    set_capturable(optimizers[1], True)
    for rate in (0.1, 0.03):
        for one, optimizer in zip(weights, optimizers, strict=True):
            set_rate(optimizer, rate)
            one.grad = one.detach().clone()
            optimizer.step()
    assert optimizers[1].param_groups[0]["lr"].item() == pytest.approx(0.03)
    torch.testing.assert_close(weights[0], weights[1])
    set_capturable(optimizers[1], False)
    assert optimizers[1].param_groups[0]["lr"] == pytest.approx(0.03)
    assert isinstance(optimizers[1].param_groups[0]["lr"], float)


@pytest.mark.cuda
def test_recorded_steps_are_the_steps(pictures: Path, tmp_path: Path) -> None:
    device = torch.device("cuda")
    recorded = dataclasses.replace(CONFIG, cuda_graph=True)
    plain = flat(read_state_dict(train(CONFIG, pictures, tmp_path / "plain", device=device, quiet=True)))
    graphed = flat(
        read_state_dict(train(recorded, pictures, tmp_path / "graphed", device=device, quiet=True))
    )
    first = flat({key: one.cpu() for key, one in new_run(CONFIG, device).network.state_dict().items()})
    # AdamW moves weights with tiny gradients by the sign of rounding errors, so some weights differ.
    assert (graphed - plain).norm() < 0.1 * (plain - first).norm()


def flat(state: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([state[key].flatten() for key in sorted(state)])
