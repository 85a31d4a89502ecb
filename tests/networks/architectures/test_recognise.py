"""Every width is recognized from the shapes of the tensors, and related networks are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def test_refuses_a_gap_in_the_numbers_of_modules(state: dict[str, Tensor]) -> None:
    with pytest.raises(WeightsError, match="3 modules of one kind are numbered up to 999999999"):
        recognise(state | {"blocks.999999999.x": torch.zeros(1)})


def test_one_far_layer_of_a_head_does_not_make_it_long() -> None:
    config = ESCRealConfig(2, **TINY, head="neosr")
    state = build_network(config).state_dict()
    assert recognise(state | {"to_img.999999999.x": torch.zeros(1)}).scale <= 4


def test_refuses_widths_that_no_network_has_with_a_reason(state: dict[str, Tensor]) -> None:
    for name, shape, reason in (
        ("plk_filter", (8, 8, 12, 12), "the kernel size must be an odd number, not 12"),
        ("blocks.0.attn.relative_position_bias", (3, 225), "16 channels cannot be divided among 3 heads"),
        ("to_img.weight", (2, 16, 3, 3), "scale must be at least 1, not 0"),
        ("to_img.weight", (), "one has too few dimensions"),
        ("plk_filter", (32, 32, 9, 9), "the mixing layers cannot mix 32 of 16 channels"),
    ):
        with pytest.raises(WeightsError, match=reason):
            recognise(state | {name: torch.zeros(shape)})


TINY: dict[str, Any] = {"dim": 16, "partial_dim": 8, "heads": 2, "blocks": 1, "mixers": 1, "window_size": 4}
NETWORKS: tuple[NetworkConfig, ...] = (
    ESCConfig(2, **TINY),
    ESCConfig(2, **TINY, mixer="milk", kernel_size=5),
    ESCConfig(2, **TINY, mixer="atconv", kernel_size=3),
    ESCConfig(2, **TINY, mixer="window"),
    ESCConfig(2, **TINY | {"heads": 0, "window_size": 1}, shared_kernel=False),
    ESCFPConfig(3, **TINY),
    ESCRealConfig(4, **TINY),
    ESCRealConfig(2, **TINY, head="dysample"),
    ESCRealConfig(2, **TINY, head="neosr"),
    ESCRealMConfig(2, **TINY | {"window_size": 8}, unshuffle=2),
    ESCRealMConfig(2, **TINY, head="dysample", head_dim=12),
    LTEConfig(**TINY, texture_dim=8, decoder_dims=(8, 8)),
    ESCRIBConfig(2, **TINY | {"window_size": 64}, bias_rank=3),
    ESCFlashBiasConfig(2, **TINY, bias_rank=3),
    ESCRealFlashBiasConfig(4, **TINY, bias_rank=3),
)
DAMAGE: dict[str, Callable[[Tensor], Tensor]] = {
    "no dimension": lambda tensor: tensor.flatten()[0],
    "empty": lambda tensor: tensor[:0],
    "no channels": lambda tensor: tensor[:, :0] if tensor.ndim > 1 else tensor[:0],
    "one row": lambda tensor: tensor[:1],
    "one channel": lambda tensor: tensor[:, :1] if tensor.ndim > 1 else tensor[:1],
    "a row less": lambda tensor: tensor[:-1],
    "a column less": lambda tensor: tensor[..., :-1],
    "one more dimension": lambda tensor: tensor[None],
    "not finite": lambda tensor: torch.full(tensor.shape, torch.inf),
    "negative": lambda tensor: torch.full(tensor.shape, -1.0),
    "large": lambda tensor: torch.full(tensor.shape, 1e9),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("config", NETWORKS, ids=lambda config: type(config).__name__)
def test_any_damaged_tensor_is_refused_or_fits(config: NetworkConfig, damage: str) -> None:
    """Whatever a file holds, its network is recognized and can be built, or the file is refused."""
    state = build_network(config).state_dict()
    for name, tensor in state.items():
        if tensor.ndim:
            try:
                found = recognise(state | {name: DAMAGE[damage](tensor)})
            except WeightsError:
                continue
            if found != config:
                with torch.device("meta"):
                    build_network(found)


WIDTHS = {
    "scale": st.integers(1, 4),
    "dim": st.integers(1, 12),
    "partial_dim": st.integers(1, 12),
    "heads": st.integers(1, 4),
    "blocks": st.just(1),
    "mixers": st.just(1),
    "kernel_size": st.integers(1, 6),
    "window_size": st.integers(1, 5),
    "first_hidden_dim": st.integers(1, 3),
    "hidden_dim": st.integers(1, 3),
}
SMALL_CONFIGS = st.sampled_from(
    [
        (
            ESCConfig,
            WIDTHS | {"mixer": st.sampled_from(["convolutional", "static", "milk", "atconv", "window"])},
        ),
        (ESCConfig, WIDTHS | {"heads": st.just(0), "window_size": st.just(1)}),
        (ESCFPConfig, WIDTHS),
        (ESCRealConfig, WIDTHS | {"head": st.sampled_from(["nearest", "dysample", "neosr"])}),
        (
            ESCRealMConfig,
            WIDTHS
            | {
                "head": st.sampled_from(["pixelshuffle", "nearest+conv", "dysample", "transpose+conv"]),
                "head_dim": st.integers(1, 9),
                "unshuffle": st.integers(1, 3),
            },
        ),
        (LTEConfig, WIDTHS | {"texture_dim": st.integers(1, 5), "decoder_dims": st.just((2,))}),
        (ESCRIBConfig, WIDTHS | {"bias_rank": st.integers(1, 3), "frequencies": st.integers(0, 2)}),
        (ESCFlashBiasConfig, WIDTHS | {"bias_rank": st.integers(1, 3)}),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_each_configuration_is_refused_or_runs(data: st.DataObject) -> None:
    kind, widths = data.draw(SMALL_CONFIGS)
    values = {name: data.draw(strategy, label=name) for name, strategy in widths.items()}
    try:
        config = kind(**values)
    except ValueError:
        return
    with torch.inference_mode():
        high = build_network(config).eval()(torch.rand(1, 3, 6, 7))
    assert high.shape == (1, 3, 6 * config.scale, 7 * config.scale)
