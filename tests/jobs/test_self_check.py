"""Test that the self check finds runtimes that are wrong, missing or unsuitable."""

import importlib.metadata
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from esc_cli.engine.executors.base import Runtime
from esc_cli.jobs import installation, self_check


class Odd(Runtime):
    """A runtime whose results are slightly too large."""

    name, title, fixed_bytes = "odd", "Odd", 1
    reason: str | None = None
    error: float = 0.01
    is_installed = True

    def obstacle(self, network: nn.Module, device: torch.device, dtype: torch.dtype) -> str | None:
        return self.reason

    def saved_s(self, network: nn.Module, dtype: torch.dtype, job_px: int) -> float:
        return 0.0

    def executor(self, checkpoint: Any, *_: Any) -> Any:
        def run(low: Tensor) -> Tensor:
            return checkpoint.network(low) + self.error

        return run


def tried(runtime: Runtime) -> self_check.Check:
    checkpoint = self_check._small_network()
    low = torch.rand(1, 3, 16, 16)
    with torch.inference_mode():
        return self_check._of_runtime(runtime, checkpoint, low, checkpoint.network(low))


def test_a_runtime_with_other_results_fails() -> None:
    check = tried(Odd())
    assert (check.state, check.exit_code, check.optional) == ("fails", 4, True)
    assert check.detail == "its result differs by 0.01 from that of the plain network"


@pytest.mark.parametrize("error", [float("nan"), float("inf")])
def test_a_runtime_without_finite_results_fails(error: float) -> None:
    runtime = Odd()
    runtime.error = error
    assert tried(runtime).state == "fails"


def test_a_runtime_that_is_right_works() -> None:
    runtime = Odd()
    runtime.error = 0.0
    assert tried(runtime).state == "works"


def test_a_runtime_that_does_not_suit_the_machine() -> None:
    runtime = Odd()
    runtime.reason = "it needs another machine"
    check = tried(runtime)
    assert (check.state, check.detail, check.exit_code) == ("cannot be used", "it needs another machine", 0)


def test_a_runtime_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "is_installed", False)
    check = tried(Odd())
    assert (check.state, check.detail) == ("not installed", 'pip install "esc-upscale[odd]"')


def test_a_program_that_is_not_installed_as_a_package_is_checked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert installation.extras() == ()
    assert installation.versions()["esc-upscale"] == "not installed as a package"


def test_the_random_network_does_not_change_the_random_numbers_of_the_caller() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    self_check._small_network()
    assert torch.equal(torch.rand(3), expected)
