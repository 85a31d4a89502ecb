"""State dicts are read from files in every wrapping, and other files are refused."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.errors import WeightsError

Wrap = dict[str, Any]


def zeros(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: torch.zeros_like(value) for key, value in state.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"params": state},
        lambda state: {"params": zeros(state), "params_ema": state},
        lambda state: {"params_ema": {f"module.{key}": value for key, value in state.items()}, "iter": 7},
        lambda state: {f"_orig_mod.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"network.{key}": value for key, value in state.items()}, "epoch": 7},
        lambda state: {"params": {f"module._orig_mod.{key}": value for key, value in state.items()}},
        lambda state: {"generator": state, "epoch": 7, "names": {"a": "b"}},
        lambda state: {"models": {"ema": {"params": state}}},
    ],
    ids=[
        "bare",
        "params",
        "params_ema",
        "parallel",
        "compiled",
        "lightning",
        "compiled and parallel",
        "any key",
        "three keys",
    ],
)
def test_reads_every_wrapping(tmp_path: Path, state: dict[str, Tensor], wrap: Any) -> None:
    torch.save(wrap(state), tmp_path / "model.pth")
    read = read_state_dict(tmp_path / "model.pth")
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_two_networks_in_a_file_are_refused(tmp_path: Path, state: dict[str, Tensor]) -> None:
    torch.save({"generator": state, "discriminator": state}, tmp_path / "model.pth")
    with pytest.raises(WeightsError, match="those of several networks"):
        read_state_dict(tmp_path / "model.pth")


def test_reads_safetensors(tmp_path: Path, state: dict[str, Tensor]) -> None:
    save_file(state, tmp_path / "model.safetensors")
    read = read_state_dict(tmp_path / "model.safetensors")
    assert all(torch.equal(read[key], state[key]) for key in state)


class _Malicious:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def test_refuses_to_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"params": _Malicious()}, "model.pth")
    with pytest.raises(WeightsError, match="more than tensors") as caught:
        read_state_dict(Path("model.pth"))
    assert "refused" in str(caught.value.hint)
    assert not Path("executed").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_refuses_truncated_files(tmp_path: Path, state: dict[str, Tensor], suffix: str, keep: int) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        save_file(state, path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match="damaged"):
        read_state_dict(path)


@pytest.mark.parametrize("content", [b"no model at all", pickle.dumps({"a": 1}), pickle.dumps([1, 2])])
def test_refuses_what_is_no_model(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(WeightsError, match=r"model\.pth"):
        read_state_dict(tmp_path / "model.pth")


def test_refuses_other_endings_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_text("hello")
    with pytest.raises(WeightsError, match="does not end in any of"):
        read_state_dict(tmp_path / "model.txt")
    with pytest.raises(WeightsError, match="no model file"):
        read_state_dict(tmp_path / "missing.pth")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suffix=st.sampled_from([".pth", ".safetensors"]), data=st.data())
def test_flipped_bytes_never_leak_another_error(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    path = tmp_path / f"model{suffix}"
    state = {"a": torch.arange(6.0), "b": torch.zeros(2, 2)}
    if suffix == ".pth":
        torch.save({"params": state, 7: 8}, path)
    else:
        save_file(state, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        read_state_dict(path)
    except WeightsError as error:
        assert path.name in error.message
