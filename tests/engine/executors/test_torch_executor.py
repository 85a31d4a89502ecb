import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from esc_cli.checkpoints.checkpoint import Checkpoint
from esc_cli.engine.executors.torch_executor import TorchExecutor
from esc_cli.errors import WeightsError

CPU = torch.device("cpu")
Make = Callable[..., Checkpoint]


def overflow_in_half_precision(high: Tensor) -> Tensor:
    return high if high.dtype == torch.float32 else high * torch.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_network_computes_in_its_precision_and_answers_in_float32(
    nearest: Make, picture: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    checkpoint = nearest(scale=2)
    forward = TorchExecutor(checkpoint, CPU, dtype)
    high = forward(picture(5, 7))
    assert high.dtype == torch.float32
    assert high.shape == (1, 3, 10, 14)
    assert checkpoint.network.runs.dtypes == [dtype]
    assert forward.overflow_retries == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_overflows_in_half_precision_is_done_again_in_float32(
    nearest: Make, picture: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    checkpoint = nearest(scale=2, spoil=overflow_in_half_precision)
    forward = TorchExecutor(checkpoint, CPU, dtype)
    low = picture(4, 4)
    expected = TorchExecutor(nearest(scale=2), CPU, torch.float32)(low)
    for count in (1, 2):
        assert torch.equal(forward(low), expected)
        assert forward.overflow_retries == count
    assert checkpoint.network.runs.dtypes == [dtype, torch.float32] * 2


def test_a_model_that_gives_no_numbers_is_called_damaged(
    nearest: Make, picture: Callable[..., Tensor]
) -> None:
    forward = TorchExecutor(nearest(scale=2, spoil=lambda high: high * torch.nan), CPU, torch.float32)
    with pytest.raises(WeightsError, match="'test'"):
        forward(picture(4, 4))


def test_the_checkpoint_stays_as_it_was(tiny_esc: Checkpoint, picture: Callable[..., Tensor]) -> None:
    before = {key: value.clone() for key, value in tiny_esc.network.state_dict().items()}
    TorchExecutor(tiny_esc, CPU, torch.bfloat16)(picture(8, 8))
    after = tiny_esc.network.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_real_network_falls_back_in_inference_mode(
    tiny_esc: Checkpoint, picture: Callable[..., Tensor]
) -> None:
    """Attention reads the version counter of its weights. Weights made in inference mode have none."""
    network = copy.deepcopy(tiny_esc.network)
    torch.nn.init.constant_(network.to_img.bias, 1e5)
    tiny_esc = replace(tiny_esc, network=network)
    forward = TorchExecutor(tiny_esc, CPU, torch.float16)
    low = picture(16, 8)
    with torch.inference_mode():
        high = forward(low)
        expected = TorchExecutor(tiny_esc, CPU, torch.float32)(low)
    assert forward.overflow_retries == 1
    assert torch.equal(high, expected)


def test_a_network_that_returns_its_input_cannot_spoil_the_picture(nearest: Make) -> None:
    low = torch.full((1, 3, 4, 4), 0.5)
    TorchExecutor(nearest(scale=1), CPU, torch.float32)(low).zero_()
    assert low.min() == 0.5
