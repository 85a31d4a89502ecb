"""ESC checkpoints load, are described and run in spandrel as they do here."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from esc_cli.checkpoints.manifest import read_manifest
from esc_cli.engine.upscaler import Upscaler
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network

_WIDTHS: dict[str, Any] = {
    "dim": 16,
    "partial_dim": 8,
    "heads": 2,
    "blocks": 1,
    "mixers": 1,
    "window_size": 8,
}

CONFIGS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, **_WIDTHS),
    ESCFPConfig(3, **_WIDTHS),
    ESCRealConfig(4, **_WIDTHS),
    ESCRealMConfig(1, head="conv", **_WIDTHS),
    ESCRIBConfig(2, **_WIDTHS),
    LTEConfig(4, texture_dim=8, **_WIDTHS),
)


@pytest.fixture
def ours(spandrel: ModuleType) -> Iterator[ModuleType]:
    """Return our module, and restore spandrel's registry afterwards."""
    module = importlib.import_module("esc_cli.integrations.spandrel")
    kept = vars(spandrel.MAIN_REGISTRY).copy()
    yield module
    vars(spandrel.MAIN_REGISTRY).update(kept)


def random_network(config: NetworkConfig) -> nn.Module:
    network = build_network(config).eval()
    for weights in network.parameters():
        if weights.ndim > 1:
            nn.init.normal_(weights, std=0.05)
    return network


def saved(config: NetworkConfig, path: Path) -> Path:
    save_file({key: value.contiguous() for key, value in random_network(config).state_dict().items()}, path)
    return path


def by_name(config: NetworkConfig) -> str:
    return type(config).__name__


@pytest.mark.parametrize("config", CONFIGS, ids=by_name)
def test_a_checkpoint_runs_in_spandrel_as_here(
    spandrel: ModuleType, ours: ModuleType, tmp_path: Path, config: NetworkConfig
) -> None:
    ours.install()
    ours.install()  # twice is harmless
    path = saved(config, tmp_path / "mine.safetensors")
    descriptor = spandrel.ModelLoader("cpu").load_from_file(path)
    assert (descriptor.architecture.id, descriptor.scale) == ("ESC", config.scale)
    assert (descriptor.input_channels, descriptor.output_channels) == (3, 3)
    assert descriptor.purpose == ("Restoration" if config.scale == 1 else "SR")
    low = torch.rand(1, 3, 21, 30)
    here = Upscaler(path, device="cpu", precision="float32", tiling="none", runtime="torch")(low)
    torch.testing.assert_close(descriptor(low.clone()), here, atol=2e-5, rtol=0)


def test_a_tile_of_spandrel_is_a_tile_of_ours(spandrel: ModuleType, ours: ModuleType, tmp_path: Path) -> None:
    path = saved(CONFIGS[0], tmp_path / "mine.safetensors")
    descriptor = spandrel.ModelLoader("cpu", ours.ESC_REGISTRY).load_from_file(path)
    upscaler = Upscaler(path, device="cpu", precision="float32", tiling="none", runtime="torch")
    low = torch.rand(1, 3, 40, 40)
    for top, left in [(0, 0), (0, 16), (16, 16)]:
        tile = low[..., top : top + 24, left : left + 24]
        torch.testing.assert_close(descriptor(tile.clone()), upscaler(tile), atol=2e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(spandrel: ModuleType, ours: ModuleType, tmp_path: Path, dtype: torch.dtype) -> None:
    path = saved(CONFIGS[0], tmp_path / "mine.safetensors")
    descriptor = spandrel.ModelLoader("cpu", ours.ESC_REGISTRY).load_from_file(path)
    low = torch.rand(1, 3, 16, 24)
    full: Tensor = descriptor(low.clone())
    half: Tensor = descriptor.to(dtype)(low.to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), full, atol=0.02, rtol=0)


@pytest.mark.parametrize("prefix", ["module.", "model."])
def test_prefixes_of_training_frameworks(
    spandrel: ModuleType, ours: ModuleType, tmp_path: Path, prefix: str
) -> None:
    state = {prefix + key: value for key, value in random_network(CONFIGS[0]).state_dict().items()}
    torch.save({"params_ema": state}, tmp_path / "mine.pth")
    descriptor = spandrel.ModelLoader("cpu", ours.ESC_REGISTRY).load_from_file(tmp_path / "mine.pth")
    assert descriptor.architecture.id == "ESC"


def test_shipped_models_are_described(spandrel: ModuleType, ours: ModuleType) -> None:
    entry = next(one for one in read_manifest() if (one.name, one.scale) == ("esc-light", 2))
    descriptor = spandrel.ModelLoader("cpu", ours.ESC_REGISTRY).load_from_file(entry.path)
    assert (descriptor.tags, descriptor.scale) == (["esc-light"], 2)
    assert (descriptor.supports_half, descriptor.supports_bfloat16) == (True, True)
    low = torch.rand(1, 3, 9, 50)
    here = Upscaler("esc-light", scale=2, device="cpu", precision="float32", runtime="torch")(low)
    torch.testing.assert_close(descriptor(low.clone()), here, atol=2e-5, rtol=0)


@pytest.mark.parametrize("name", VARIANTS)
def test_no_other_architecture_takes_an_esc_network(
    spandrel: ModuleType, ours: ModuleType, name: str
) -> None:
    with torch.device("meta"):
        state = build_network(VARIANTS[name](4)).state_dict()
    others = (one for one in spandrel.MAIN_REGISTRY if one.architecture.id != "ESC")
    assert not [one.architecture.id for one in others if one.architecture.detect(state)]


def test_other_networks_are_left_to_others(spandrel: ModuleType, ours: ModuleType) -> None:
    ours.install()
    compact = importlib.import_module("spandrel.architectures.Compact").Compact
    state = compact(num_feat=8, num_conv=1).state_dict()
    assert not spandrel.MAIN_REGISTRY["ESC"].architecture.detect(state)
    assert spandrel.ModelLoader("cpu").load_from_state_dict(state).architecture.id == "Compact"
