"""Every width is recognized from the shapes of the tensors, and related networks are refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from esc_cli.checkpoints.files import read_state_dict
from esc_cli.errors import WeightsError
from esc_cli.networks.architectures.base import NetworkConfig
from esc_cli.networks.architectures.esc import ESCConfig
from esc_cli.networks.architectures.esc_flashbias import ESCFlashBiasConfig, ESCRealFlashBiasConfig
from esc_cli.networks.architectures.esc_fp import ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealMConfig
from esc_cli.networks.architectures.esc_rib import ESCRIBConfig
from esc_cli.networks.architectures.lte import LTEConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network, recognise


@pytest.fixture
def state() -> dict[str, Tensor]:
    config = ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=2, mixers=1, window_size=8, kernel_size=9)
    return build_network(config).state_dict()


HEADS = st.integers(1, 3)
EVEN = st.sampled_from([1, 2, 4, 8])
COMMON = {
    "scale": st.integers(2, 4),
    "partial_dim": st.sampled_from([4, 8]),
    "blocks": st.integers(1, 3),
    "mixers": st.integers(1, 3),
    "kernel_size": st.sampled_from([5, 9, 13]),
    "window_size": st.sampled_from([4, 8, 16]),
    "first_hidden_dim": st.integers(1, 40),
    "hidden_dim": st.integers(1, 40),
}
CONFIGS = st.one_of(
    st.builds(ESCConfig, heads=HEADS, dim=st.just(24), inner_norm=st.booleans(), **COMMON),
    st.builds(ESCFPConfig, heads=HEADS, dim=st.just(24), **COMMON),
    st.builds(
        ESCRealConfig,
        heads=HEADS,
        dim=st.just(24),
        inner_norm=st.booleans(),
        head=st.just("dysample"),
        **COMMON,
    ),
    st.builds(ESCRealConfig, heads=HEADS, dim=st.just(24), **{**COMMON, "scale": st.just(4)}),
    st.builds(
        ESCRealConfig, heads=HEADS, dim=st.just(24), **COMMON | {"scale": EVEN, "head": st.just("neosr")}
    ),
    st.builds(
        ESCRealMConfig,
        heads=HEADS,
        dim=st.just(24),
        head=st.sampled_from(
            ["pixelshuffledirect", "pixelshuffle", "nearest+conv", "dysample", "transpose+conv"]
        ),
        head_dim=st.sampled_from([12, 24]),
        inner_norm=st.booleans(),
        **COMMON,
    ),
    st.builds(
        ESCRealMConfig,
        heads=HEADS,
        dim=st.just(24),
        head=st.sampled_from(["pixelshuffle", "nearest+conv", "dysample"]),
        unshuffle=st.just(2),
        **COMMON | {"scale": st.integers(1, 2)},
    ),
    st.builds(
        LTEConfig,
        heads=HEADS,
        dim=st.just(24),
        texture_dim=st.sampled_from([2, 8]),
        decoder_dims=st.lists(st.integers(1, 9), max_size=6).map(tuple),
        **COMMON | {"scale": st.just(4)},
    ),
    st.builds(ESCFlashBiasConfig, heads=HEADS, dim=st.just(24), bias_rank=st.integers(1, 50), **COMMON),
    st.builds(ESCRealFlashBiasConfig, heads=HEADS, dim=st.just(24), **{**COMMON, "scale": st.just(4)}),
    st.builds(
        ESCRIBConfig,
        heads=HEADS,
        dim=st.just(24),
        bias_rank=st.integers(1, 50),
        bias_hidden_dim=st.integers(1, 40),
        frequencies=st.integers(0, 12),
        **{**COMMON, "window_size": st.just(64)},
    ),
)


@settings(max_examples=40)
@given(config=CONFIGS)
def test_recognises_every_width(config: NetworkConfig) -> None:
    with torch.device("meta"):
        assert recognise(build_network(config).state_dict()) == config


@pytest.mark.parametrize("name", VARIANTS)
def test_recognises_the_published_variants(name: str) -> None:
    with torch.device("meta"):
        assert recognise(build_network(VARIANTS[name](4)).state_dict()) == VARIANTS[name](4)


@pytest.mark.parametrize(
    ("vector", "named"),
    [
        ("atconv_c16", "not hold an ESC network"),
        ("milk_convattn", "not hold an ESC network"),
    ],
)
def test_refuses_relatives_by_name(vector_path: Callable[[str], Path], vector: str, named: str) -> None:
    with pytest.raises(WeightsError, match=named):
        recognise(read_state_dict(vector_path(f"{vector}.safetensors")))


@pytest.mark.parametrize("damage", ["plk_filter", "to_img.weight", "blocks.0.convffns.0.proj.weight"])
def test_refuses_incomplete_networks(state: dict[str, Tensor], damage: str) -> None:
    del state[damage]
    with pytest.raises(WeightsError, match="do not fit"):
        recognise(state)
