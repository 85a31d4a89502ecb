"""Fixtures that run the program in this process or in a separate process."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

from esc_cli.cli.main import main
from esc_cli.cli.option_layers import PREFIX
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import build_network

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Ended:
    """The exit code and the output of a run."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        return self.stdout.decode()


@pytest.fixture(autouse=True)
def empty_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def no_configuration(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the configuration of the person who runs the tests."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("configuration")))
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)


@pytest.fixture
def save() -> Callable[..., Path]:
    """Return a function that writes a picture: ``save("a/b.png", mode="LA")``."""

    def save(name: str | Path, size: tuple[int, int] = (8, 6), mode: str = "RGB", **options: Any) -> Path:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise(size, 60).convert("RGB").convert(mode).save(path, **options)
        return path

    return save


@pytest.fixture
def load() -> Callable[..., Image.Image]:
    """Return a function that reads a picture with Pillow and closes its file."""

    def load(source: str | Path | bytes) -> Image.Image:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            image.load()
        return image

    return load


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Callable[..., Ended]:
    """Return a function that runs the program in this process: ``run("a.png", "-s", 2, stdin=b"...")``."""

    def run(*arguments: object, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "argv", ["esc-upscale", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capfdbinary.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        stdout, stderr = capfdbinary.readouterr()
        return Ended(int(end.value.code or 0), stdout, stderr.decode())

    return run


@pytest.fixture
def program_environment() -> dict[str, str]:
    """Return an environment like a user's: standard output is buffered, so a write can fail at the end."""
    return {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | {
        "PYTHONPATH": str(ROOT)
    }


@pytest.fixture
def start(program_environment: dict[str, str]) -> Callable[..., subprocess.Popen[bytes]]:
    """Return a function that starts the program as a process. By default, its output goes to pipes."""

    def start(
        *arguments: object, variables: dict[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "esc_cli", *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = pipes | options
        return subprocess.Popen(command, **options, env=program_environment | (variables or {}))

    return start


@pytest.fixture(scope="session")
def tiny_network() -> nn.Module:
    """Return an ESC network of one block with random weights."""
    torch.manual_seed(0)
    config = ESCConfig(
        2,
        dim=32,
        partial_dim=8,
        heads=2,
        blocks=1,
        mixers=1,
        window_size=16,
        first_hidden_dim=32,
        hidden_dim=32,
    )
    network = build_network(config)
    for weight in network.parameters():
        if weight.abs().max() == 0:
            nn.init.normal_(weight, std=0.02)
    return network.eval()


@pytest.fixture(params=["safetensors", "pth"])
def checkpoint(request: pytest.FixtureRequest, tiny_network: nn.Module, tmp_path: Path) -> Path:
    """Save the network in this project's format or in that of a training framework, and return the path."""
    path = tmp_path / f"tiny [x2].{request.param}"
    state = tiny_network.state_dict()
    if request.param == "safetensors":
        save_file(state, path)
    else:
        torch.save({"params": {}, "params_ema": state}, path)
    return path
