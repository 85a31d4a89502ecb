"""The named networks have the published sizes, and each takes pictures of any size."""

import dataclasses
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import esc_cli
from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.engine.upscaler import Upscaler
from esc_cli.networks.architectures import registry
from esc_cli.networks.architectures.base import Architecture, MemoryProfile, NetworkConfig, State
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.interpolation import InterpolationConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import ARCHITECTURES, VARIANTS, build_network, variant_name
from esc_cli.networks.runner import WHOLE, FeatureMap, Runner

# Source: ESC (arXiv 2503.06671), table 2, and ESC-RIB (arXiv 2603.06738). The exact numbers were counted in
# the published code.
PUBLISHED_PARAMETERS = {
    ("esc", 2): 946_728,
    ("esc", 3): 955_383,
    ("esc", 4): 967_500,
    ("esc-light", 2): 603_600,
    ("esc-light", 3): 612_255,
    ("esc-light", 4): 624_372,
    ("esc-fp", 2): 523_675,
    ("esc-fp", 3): 530_170,
    ("esc-fp", 4): 539_263,
    ("esc-xl", 2): 12_455_916,
    ("esc-xl", 3): 12_481_851,
    ("esc-xl", 4): 12_518_160,
    ("esc-real", 4): 2_265_307,
    ("esc-realm", 1): 2_296_987,
    ("esc-realm", 2): 2_271_643,
    ("esc-realm", 3): 2_228_379,
    ("esc-realm", 4): 2_265_307,
    ("esc-lte", 4): 1_433_631,
    ("esc-rib", 2): 1_007_796,
    ("esc-rib", 3): 1_016_451,
    ("esc-rib", 4): 1_028_568,
}
# The number for ESC-RIB follows from ESC's 402: each of the 5 blocks has 4 tensors of the bias instead of 1,
# and 4 of the gate, and the normalization before the last convolution has 2.
PUBLISHED_KEYS = {
    "esc": 402,
    "esc-light": 244,
    "esc-fp": 455,
    "esc-xl": 719,
    "esc-real": 909,
    # The tensors of ESC-Real and one that describes the head. At x3 the head has one convolution less.
    "esc-realm": 910,
    # The tensors of the encoder, and of coef, freq, phase and the four layers of imnet.
    "esc-lte": 400 + 2 + 2 + 1 + 8,
    "esc-rib": 402 + 5 * 7 + 2,
}

SMALL: tuple[NetworkConfig, ...] = (
    ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    ESCFPConfig(3, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    ESCRealConfig(4, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    ESCRealConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, head="dysample"),
    ESCRealMConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=16, unshuffle=2),
    LTEConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, texture_dim=8),
    ESCRIBConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    ESCFlashBiasConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    ESCRealFlashBiasConfig(4, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8),
    InterpolationConfig(2, "nearest"),
)


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("name", "scale"), PUBLISHED_PARAMETERS)
def test_parameters_are_the_published_ones(name: str, scale: int) -> None:
    with torch.device("meta"):
        network = build_network(VARIANTS[name](scale))
    assert parameters(network) == PUBLISHED_PARAMETERS[name, scale]
    fewer = 2 if (name, scale) == ("esc-realm", 3) else 0
    assert len(network.state_dict()) == PUBLISHED_KEYS[name] - fewer


def test_dysample_head_has_the_published_parameters() -> None:
    with torch.device("meta"):
        network = build_network(ESCRealConfig(4, head="dysample"))
    assert parameters(network) == 2_169_499


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (ESCFlashBiasConfig(2), 2_833_428),
        (ESCFlashBiasConfig(4), 2_854_200),
        (ESCRealFlashBiasConfig(4), 6_038_707),
    ],
)
def test_factorised_bias_has_the_published_parameters(config: NetworkConfig, published: int) -> None:
    with torch.device("meta"):
        network = build_network(config)
    assert parameters(network) == published


def test_nearest_head_has_one_scale() -> None:
    with pytest.raises(ValueError, match="always x4"):
        ESCRealConfig(2)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_recognised_by_its_configuration(name: str) -> None:
    assert variant_name(VARIANTS[name](4)) == name


def test_an_unnamed_variant_is_described() -> None:
    assert variant_name(dataclasses.replace(ESCConfig(2), blocks=7)) == "ESC (unnamed variant)"


@settings(max_examples=15)
@given(
    config=st.sampled_from(SMALL),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    batch=st.integers(1, 3),
)
def test_any_picture_size_and_batch(config: NetworkConfig, height: int, width: int, batch: int) -> None:
    network = build_network(config).eval()
    with torch.inference_mode():
        high = network(torch.rand(batch, 3, height, width))
    assert high.shape == (batch, 3, height * config.scale, width * config.scale)
    assert high.isfinite().all()


@pytest.mark.parametrize("config", SMALL, ids=lambda config: type(config).__name__)
def test_training_and_inference_are_the_same_function(config: NetworkConfig) -> None:
    network = build_network(config)
    low = torch.rand(2, 3, 11, 9)
    trained = network.train()(low)
    with torch.inference_mode():
        inferred = network.eval()(low)
    torch.testing.assert_close(trained, inferred)


@pytest.mark.parametrize("name", VARIANTS)
def test_one_architecture_alone_recognises_a_network(name: str) -> None:
    config = VARIANTS[name](4)
    with torch.device("meta"):
        state = build_network(config).state_dict()
    found = [one.recognise(state) for one in ARCHITECTURES]
    assert [one for one in found if one is not None] == [config]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda one: one.config.__name__)
def test_every_architecture_answers_everything(architecture: Architecture) -> None:
    config = next(one for one in SMALL if type(one) is architecture.config)
    network = architecture.network(config)
    height, width = 9, 7
    high = network(torch.rand(1, 3, height, width))
    assert high.shape == (1, 3, config.scale * height, config.scale * width)
    memory = config.memory()
    assert (memory.held_channels > 0) == config.pools
    assert (memory.values_per_pixel > 0) == config.pools
    assert config.body().body_factor == 1
    assert config.body().scale == config.scale * config.body_factor
    assert not config.shrinks


def test_nobody_else_asks_which_architecture_it_is() -> None:
    """A check of the class elsewhere would have to be found and changed for every new architecture."""
    package = Path(esc_cli.__file__).parent
    for path in package.rglob("*.py"):
        if "architectures" not in path.parts:
            assert not re.search(r"isinstance\([^)]*[cC]onfig", path.read_text()), path


@dataclass(frozen=True)
class ToyConfig(NetworkConfig):
    """Configuration of a network added by a user. The network has no tensor in common with ESC."""

    scale: int
    dim: int = 8
    window_size: int = 1
    pools: ClassVar[bool] = False

    def memory(self) -> MemoryProfile:
        return MemoryProfile(values_per_pixel=3 * self.dim, held_channels=self.dim)


class Toy(nn.Module):
    def __init__(self, config: ToyConfig) -> None:
        super().__init__()
        self.scale = config.scale
        self.first = nn.Conv2d(3, config.dim, 5, padding=2)
        self.last = nn.Conv2d(config.dim, 3 * config.scale**2, 3, padding=1)

    def forward(self, low: Tensor, run: Runner = WHOLE) -> FeatureMap:
        features = run.local(lambda x: self.first(x).relu(), low, reach_px=2)
        return run.local(
            lambda x: F.pixel_shuffle(self.last(x), self.scale), features, reach_px=1, keep=False
        )


def recognise_toy(state: State) -> ToyConfig | None:
    if "first.weight" not in state:
        return None
    return ToyConfig(math.isqrt(len(state["last.bias"]) // 3), len(state["first.bias"]))


def test_a_new_architecture_needs_its_module_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Architecture(ToyConfig, Toy, recognise_toy)
    monkeypatch.setattr(registry, "ARCHITECTURES", (*ARCHITECTURES, toy))
    monkeypatch.setitem(registry._BY_CONFIG, ToyConfig, toy)
    save_file(build_network(ToyConfig(3, dim=4)).state_dict(), tmp_path / "toy.safetensors")
    checkpoint = load_checkpoint(tmp_path / "toy.safetensors")
    assert checkpoint.config == ToyConfig(3, dim=4)
    low = torch.rand(1, 3, 70, 9)
    whole, strips, tiles = (
        Upscaler(checkpoint, device="cpu", precision="float32", **how)
        for how in ({"tiling": "none"}, {"tiling": "exact"}, {"tile_px": 40, "overlap_px": 8})
    )
    torch.testing.assert_close(strips(low), whole(low), rtol=0, atol=1e-6)
    assert (tiles(low) - whole(low)).abs().mean() < 0.01
