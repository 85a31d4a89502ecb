"""A named backend is tried; ``auto`` chooses among backends that need no compilation."""

import pytest
import torch

from esc_cli.engine.attention_choice import choose_attention, choose_on_cpu, measure
from esc_cli.errors import DeviceError, UsageError
from esc_cli.networks.attention.windows import ATTENTION_BACKENDS

CPU = torch.device("cpu")


def test_the_cpu_has_one_candidate_in_float32() -> None:
    choice = choose_attention("auto", CPU, torch.float32)
    assert choice.name == "sdpa"
    assert "only candidate" in choice.reason


@pytest.mark.parametrize(
    ("capabilities", "name"), [({"avx512_bf16": True}, "blocked"), ({"amx_bf16": True}, "sdpa")]
)
def test_blocked_is_usual_in_bfloat16_on_a_cpu_without_amx(capabilities: dict[str, bool], name: str) -> None:
    assert choose_on_cpu(capabilities).name == name


def test_blocked_is_for_bfloat16_on_the_cpu() -> None:
    assert choose_attention("blocked", CPU, torch.bfloat16).name == "blocked"
    with pytest.raises(DeviceError, match="bfloat16"):
        choose_attention("blocked", CPU, torch.float32)


@pytest.mark.parametrize("name", ["naive", "sdpa"])
def test_a_named_backend_is_used(name: str) -> None:
    choice = choose_attention(name, CPU, torch.float32)
    assert (choice.name, choice.reason) == (name, "asked for")


def test_an_unknown_backend_is_refused() -> None:
    with pytest.raises(UsageError, match="no attention 'paged'") as caught:
        choose_attention("paged", CPU, torch.float32)
    assert all(name in str(caught.value.hint) for name in ATTENTION_BACKENDS)


def test_flash_is_refused_on_the_cpu() -> None:
    with pytest.raises(DeviceError, match="CUDA"):
        choose_attention("flash", CPU, torch.bfloat16)


def test_a_backend_that_cannot_run_says_why() -> None:
    with pytest.raises(DeviceError, match=r"cannot compute naive attention: .*int"):
        choose_attention("naive", CPU, torch.int32)


def test_measuring_gives_a_time_for_each() -> None:
    times_s = measure(("naive", "sdpa"), CPU, torch.float32, windows=1)
    assert set(times_s) == {"naive", "sdpa"}
    assert all(time_s > 0 for time_s in times_s.values())


@pytest.mark.cuda
def test_a_gpu_in_half_precision_is_measured() -> None:
    choice = choose_attention("auto", torch.device("cuda"), torch.float16)
    assert choice.name in ("sdpa", "flash")
    assert "measured" in choice.reason
