"""Names and paths are loaded as networks, and anything else is refused with a hint."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from esc_cli.checkpoints.checkpoint import available_scales, load_checkpoint
from esc_cli.checkpoints.manifest import DEFAULT_MODEL, read_manifest
from esc_cli.errors import WeightsError


def test_a_file_is_described(tmp_path: Path, network: nn.Module) -> None:
    path = tmp_path / "mine.safetensors"
    save_file(network.state_dict(), path)
    checkpoint = load_checkpoint(path)
    assert (checkpoint.scale, checkpoint.name, checkpoint.origin) == (2, "mine.safetensors", str(path))
    assert checkpoint.config == network.config
    assert not checkpoint.network.training
    low = torch.rand(1, 3, 9, 12)
    with torch.inference_mode():
        torch.testing.assert_close(checkpoint.network(low), network.eval()(low))


def test_half_precision_on_disk_is_float32_in_memory(tmp_path: Path, state: dict[str, Tensor]) -> None:
    path = tmp_path / "half.safetensors"
    save_file({key: value.half() for key, value in state.items()}, path)
    parameters = load_checkpoint(path).network.parameters()
    assert all(parameter.dtype == torch.float32 for parameter in parameters)


def test_tensors_that_do_not_fit_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    first = "blocks.0.attn.to_out.bias"
    others = {key: value for key, value in state.items() if key != first}
    wrong = [
        (
            {**state, "more.weight": torch.zeros(3), "more.bias": torch.zeros(3)},
            "'more.bias' and 1 more are unknown",
        ),
        (others, f"'{first}' is missing"),
        ({**others, first: torch.zeros(0, 7)}, f"'{first}' has the shape (0, 7) instead of "),
        ({**others, first: state[first].to_sparse()}, f"'{first}' is a sparse tensor"),
    ]
    for tensors, sentence in wrong:
        torch.save(tensors, tmp_path / "odd.pth")
        with pytest.raises(WeightsError, match=re.escape(f"do not fit its network: {sentence}")):
            load_checkpoint(tmp_path / "odd.pth")


@pytest.mark.parametrize("name", ["nearest", "bicubic"])
def test_baselines_have_no_file(name: str) -> None:
    assert available_scales(name) == (2, 3, 4)
    checkpoint = load_checkpoint(name, 3)
    assert checkpoint.network(torch.rand(1, 3, 4, 5)).shape == (1, 3, 12, 15)


def test_every_shipped_model_loads() -> None:
    assert available_scales(DEFAULT_MODEL) == (2, 3, 4)
    for entry in read_manifest():
        checkpoint = load_checkpoint(entry.name, entry.scale)
        assert (checkpoint.scale, checkpoint.variant) == (entry.scale, entry.network)


def test_auto_is_for_files_and_no_model() -> None:
    with pytest.raises(WeightsError, match="'auto' cannot choose a model here") as caught:
        load_checkpoint("auto")
    assert caught.value.hint == "name a model, for example esc"


def test_unknown_names_get_a_hint() -> None:
    with pytest.raises(WeightsError, match="there is no model 'bicubik'") as caught:
        load_checkpoint("bicubik")
    assert caught.value.hint == "did you mean 'bicubic'?"


def test_a_scale_that_a_model_lacks() -> None:
    with pytest.raises(WeightsError, match="no scale x7, only x2, x3, x4"):
        load_checkpoint("nearest", 7)
