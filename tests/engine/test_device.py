import pytest
import torch

from esc_cli.engine.device import (
    available_devices,
    choose_device,
    choose_precision,
    has_fast_bfloat16,
)
from esc_cli.errors import DeviceError, UsageError

CPU = torch.device("cpu")
on_a_plain_cpu = pytest.mark.skipif(len(available_devices()) > 1, reason="this machine has an accelerator")


@on_a_plain_cpu
def test_without_an_accelerator_auto_is_the_cpu_and_says_why() -> None:
    choice = choose_device("auto")
    assert choice.device == CPU
    assert "no " in choice.reason


@pytest.mark.skipif(len(available_devices()) == 1, reason="this machine has no accelerator")
def test_auto_takes_the_first_accelerator() -> None:
    assert str(choose_device("auto").device) == available_devices()[1]


def test_the_cpu_can_be_asked_for() -> None:
    assert choose_device("cpu").device == CPU
    assert choose_device("cpu:0").device == CPU


@pytest.mark.parametrize("name", ["cuda:99", "meta", "cpu:1", "gpu", "", "cuda:-1", "cuda:x"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(DeviceError) as caught:
        choose_device(name)
    assert caught.value.hint is not None
    assert "cpu" in caught.value.hint


@on_a_plain_cpu
@pytest.mark.parametrize("name", ["cuda", "mps", "xpu"])
def test_an_accelerator_that_is_not_there_is_refused(name: str) -> None:
    with pytest.raises(DeviceError, match=name):
        choose_device(name)


def test_automatic_precision_on_the_cpu_follows_its_instructions_and_says_why() -> None:
    choice = choose_precision("auto", CPU)
    fast = has_fast_bfloat16(torch.cpu.get_capabilities())
    assert choice.dtype == (torch.bfloat16 if fast else torch.float32)
    assert ("dB" if fast else "no instructions") in choice.reason


def test_automatic_precision_elsewhere_is_full_and_says_why() -> None:
    choice = choose_precision("auto", torch.device("meta"))
    assert choice.dtype == torch.float32
    assert "not been measured" in choice.reason


@pytest.mark.parametrize(
    ("hip", "capability", "expected"),
    [
        (None, (8, 9), torch.float16),
        (None, (6, 1), torch.float32),
        ("6.3", (11, 0), torch.float32),  # an AMD GPU, whose generations are counted differently
    ],
)
def test_half_precision_is_automatic_only_on_gpus_that_it_was_meant_for(
    monkeypatch: pytest.MonkeyPatch, hip: str | None, capability: tuple[int, int], expected: torch.dtype
) -> None:
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert choose_precision("auto", torch.device("cuda", 0)).dtype == expected


@pytest.mark.parametrize(
    ("found", "fast"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, True),
        ({"avx512_bf16": False, "amx_bf16": True}, True),
        ({"avx512_f": True, "avx512_bf16": False}, False),
        ({"architecture": "aarch64", "bf16": True}, False),
        ({}, False),
    ],
)
def test_bfloat16_is_fast_where_the_processor_has_instructions_for_it(
    found: dict[str, object], fast: bool
) -> None:
    assert has_fast_bfloat16(found) == fast


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_the_precision_asked_for_is_taken(name: str) -> None:
    assert choose_precision(name, CPU).dtype == getattr(torch, name)  # type: ignore[arg-type]


def test_a_precision_that_the_device_cannot_compute_in_is_refused() -> None:
    with pytest.raises(DeviceError, match="float16"):
        choose_precision("float16", torch.device("meta"))


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match="float8"):
        choose_precision("float8", CPU)  # type: ignore[arg-type]
