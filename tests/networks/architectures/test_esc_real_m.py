"""The heads of ESCRealM have the published numbers of parameters and work at every scale."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from esc_cli.networks.architectures.esc_real import ESCReal, ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealM, ESCRealMConfig
from esc_cli.networks.architectures.registry import VARIANTS, build_network, variant_name

SMALL = {"dim": 16, "partial_dim": 8, "heads": 2, "blocks": 1, "mixers": 1, "window_size": 8}
HEADS = (
    ("conv", 1, 1),
    ("pixelshuffledirect", 5, 1),
    ("pixelshuffle", 3, 1),
    ("pixelshuffle", 2, 2),
    ("nearest+conv", 2, 1),
    ("nearest+conv", 3, 1),
    ("nearest+conv", 1, 4),
    ("dysample", 2, 2),
    ("transpose+conv", 2, 1),
    ("transpose+conv", 3, 1),
    ("transpose+conv", 4, 1),
)


def small(head: str, scale: int, unshuffle: int) -> ESCRealMConfig:
    window_px = SMALL["window_size"] * unshuffle
    return ESCRealMConfig(
        scale,
        head=head,  # type: ignore[arg-type]
        head_dim=12,
        unshuffle=unshuffle,
        **SMALL | {"window_size": window_px},
    )


# The numbers were counted in the published code, whose weights have the same tensors.
@pytest.mark.parametrize(
    ("scale", "head", "parameters"),
    [
        (4, "pixelshuffle", 2_348_059),
        (4, "dysample", 2_193_051),
        (2, "pixelshuffle", 2_354_395),
    ],
)
def test_parameters_are_the_published_ones(scale: int, head: str, parameters: int) -> None:
    unshuffle = 4 // scale if scale < 3 else 1
    config = ESCRealMConfig(scale, head=head, window_size=32 * unshuffle, unshuffle=unshuffle)  # type: ignore[arg-type]
    with torch.device("meta"):
        network = build_network(config)
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters


@pytest.mark.parametrize(("head", "scale", "unshuffle"), HEADS)
def test_any_picture_is_enlarged_by_the_whole_scale(head: str, scale: int, unshuffle: int) -> None:
    network = ESCRealM(small(head, scale, unshuffle)).eval()

    @settings(max_examples=5)
    @given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 2))
    def check(height: int, width: int, batch: int) -> None:
        with torch.inference_mode():
            high = network(torch.rand(batch, 3, height, width))
        assert high.shape == (batch, 3, scale * height, scale * width)

    check()


def test_a_plain_convolution_after_unshuffling_shrinks() -> None:
    config = small("conv", 1, 4)
    with torch.inference_mode():
        assert ESCRealM(config)(torch.rand(1, 3, 13, 16)).shape == (1, 3, 4, 4)
    assert config.shrinks
    assert not small("conv", 1, 1).shrinks


@pytest.mark.parametrize(("head", "scale"), [("transpose+conv", 5), ("nearest+conv", 6)])
def test_heads_refuse_scales_that_they_lack(head: str, scale: int) -> None:
    with pytest.raises(ValueError, match=f"does not support x{scale}"):
        small(head, scale, 1)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_the_published_network_has_one_name_at_every_scale(scale: int) -> None:
    assert variant_name(VARIANTS["esc-realm"](scale)) == "esc-realm"


@pytest.mark.parametrize("scale", [1, 2, 8])
def test_neosr_heads_double(scale: int) -> None:
    network = ESCReal(ESCRealConfig(scale, head="neosr", **SMALL)).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 5, 6)).shape == (1, 3, 5 * scale, 6 * scale)
    with pytest.raises(ValueError, match="not x3"):
        ESCRealConfig(3, head="neosr")
