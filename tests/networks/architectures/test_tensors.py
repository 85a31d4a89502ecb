"""Every mixer of an ESC network is recognized from its tensors, and the network loads from a file."""

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.errors import WeightsError
from esc_cli.networks.ablations import ABLATIONS
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network, recognise

COMMON = {
    "scale": st.integers(2, 4),
    "dim": st.just(24),
    "heads": st.just(3),
    "partial_dim": st.sampled_from([8, 16]),
    "blocks": st.integers(1, 2),
    "mixers": st.integers(1, 3),
    "window_size": st.sampled_from([4, 8]),
    "first_hidden_dim": st.integers(1, 40),
    "hidden_dim": st.integers(1, 40),
    "inner_norm": st.booleans(),
}
KERNELS = st.sampled_from([3, 5, 13])
CONFIGS = st.one_of(
    st.builds(
        ESCConfig,
        mixer=st.sampled_from(["convolutional", "static"]),
        shared_kernel=st.booleans(),
        kernel_size=KERNELS,
        **COMMON,
    ),
    st.builds(ESCConfig, mixer=st.sampled_from(["milk", "atconv"]), kernel_size=KERNELS, **COMMON),
    st.builds(ESCConfig, mixer=st.just("window"), **COMMON),
    st.builds(
        ESCConfig,
        mixer=st.sampled_from(["convolutional", "static", "milk", "atconv"]),
        kernel_size=KERNELS,
        **{**COMMON, "heads": st.just(0), "window_size": st.just(1)},
    ),
)
FILES = {
    "esc-milk": VARIANTS["esc-milk"],
    "esc-atconv": VARIANTS["esc-atconv"],
    **ABLATIONS,
}


@settings(max_examples=40)
@given(config=CONFIGS)
def test_recognises_every_width(config: ESCConfig) -> None:
    with torch.device("meta"):
        assert recognise(build_network(config).state_dict()) == config


@pytest.mark.parametrize("name", FILES)
def test_a_file_gives_its_network_back(name: str, tmp_path: Path) -> None:
    config = FILES[name](3)
    saved = build_network(config).state_dict()
    save_file(saved, tmp_path / "saved.safetensors")
    checkpoint = load_checkpoint(tmp_path / "saved.safetensors")
    assert checkpoint.config == config
    assert checkpoint.variant == (name if name in VARIANTS else "ESC (unnamed variant)")
    loaded = checkpoint.network.state_dict()
    assert list(loaded) == list(saved)
    assert all(torch.equal(loaded[key], saved[key]) for key in saved)


@pytest.mark.parametrize(
    ("mixer", "damage"), [("milk", "fuse.bias"), ("atconv", "kernel_gen.bias"), ("static", "plk_filter")]
)
def test_refuses_what_is_incomplete(mixer: str, damage: str) -> None:
    with torch.device("meta"):
        state = build_network(ESCConfig(2, mixer=mixer, shared_kernel=False)).state_dict()  # type: ignore[arg-type]
    del state[f"blocks.0.pconvs.0.plk.{damage}"]
    with pytest.raises(WeightsError, match="do not fit"):
        recognise(state)
