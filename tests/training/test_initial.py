import pytest
import torch
from torch import nn
from torch.nn import functional as F

from esc_cli.errors import UsageError, WeightsError
from esc_cli.networks.architectures.esc import ESC, ESCConfig
from esc_cli.networks.architectures.esc_fp import ESCFP, ESCFPConfig
from esc_cli.networks.architectures.esc_real import ESCReal, ESCRealConfig
from esc_cli.networks.architectures.esc_real_m import ESCRealM, ESCRealMConfig
from esc_cli.training.initial import adapt_weights, has_head, start_as_enlargement

SMALL = {"dim": 16, "partial_dim": 8, "heads": 2, "mixers": 1, "window_size": 8, "kernel_size": 5}


def network(scale: int, blocks: int) -> ESC:
    made = ESC(ESCConfig(scale, blocks=blocks, **SMALL)).eval()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made


@pytest.mark.parametrize("blocks", [3, 4, 5, 7])
def test_a_deeper_network_starts_as_the_same_function(blocks: int) -> None:
    shallow, deep = network(2, 3), network(2, blocks)
    deep.load_state_dict(adapt_weights(shallow.state_dict(), deep.state_dict()))
    low = torch.rand(1, 3, 9, 11)
    with torch.inference_mode():
        torch.testing.assert_close(deep(low), shallow(low))


def test_another_scale_gets_the_resized_head() -> None:
    source, target = network(2, 1), network(4, 1)
    adapted = adapt_weights(source.state_dict(), target.state_dict())
    target.load_state_dict(adapted)
    old = source.to_img.bias.detach().view(3, 2, 2)
    new = adapted["to_img.bias"].view(3, 4, 4)
    # Bilinear resizing without aligned corners copies the corners and keeps the mean of each color.
    torch.testing.assert_close(new[:, ::3, ::3], old)
    torch.testing.assert_close(new.mean((1, 2)), old.mean((1, 2)))
    assert torch.equal(adapted["plk_filter"], source.plk_filter)


def test_a_network_with_wider_feed_forwards_starts_as_the_same_function() -> None:
    narrow, wide = network(2, 2), ESC(ESCConfig(2, blocks=2, hidden_dim=100, **SMALL)).eval()
    wide.load_state_dict(adapt_weights(narrow.state_dict(), wide.state_dict()))
    low = torch.rand(1, 3, 9, 11)
    with torch.inference_mode():
        torch.testing.assert_close(wide(low), narrow(low))
    assert wide.blocks[0].convffns[0].proj.weight[-1].any()


def test_what_only_the_new_network_has_is_left_as_it_is() -> None:
    source, target = network(4, 2), ESCReal(ESCRealConfig(4, **SMALL | {"blocks": 3}))
    own = {name: value.clone() for name, value in target.state_dict().items()}
    adapted = adapt_weights(source.state_dict(), own)
    for name in ("to_img.1.weight", "skip.0.weight", "blocks.1.lns.0.weight"):
        assert torch.equal(adapted[name], own[name])
    assert torch.equal(adapted["blocks.2.attn.to_qkv.weight"], source.blocks[1].attn.to_qkv.weight)
    assert has_head(source.state_dict(), network(2, 1))
    assert not has_head(source.state_dict(), target)


def test_norms_are_not_dropped() -> None:
    source = ESCReal(ESCRealConfig(4, **SMALL | {"blocks": 2, "hidden_dim": 80}))
    with pytest.raises(WeightsError, match="differ in"):
        adapt_weights(source.state_dict(), network(4, 2).state_dict())


def test_other_widths_are_refused() -> None:
    other = ESC(ESCConfig(2, blocks=1, **{**SMALL, "mixers": 2}))
    with pytest.raises(WeightsError, match="differ in"):
        adapt_weights(network(2, 1).state_dict(), other.state_dict())


SMALL_WITH_MIXERS = {
    "dim": 16,
    "partial_dim": 8,
    "heads": 2,
    "mixers": 1,
    "window_size": 8,
    "kernel_size": 5,
    "blocks": 1,
}


@pytest.mark.parametrize(
    ("network", "mode"),
    [
        (ESC(ESCConfig(4, **SMALL_WITH_MIXERS)), "nearest"),
        (ESCFP(ESCFPConfig(4, **SMALL_WITH_MIXERS)), "bicubic"),
        (ESCReal(ESCRealConfig(4, **SMALL_WITH_MIXERS)), "nearest"),
        (ESCReal(ESCRealConfig(2, head="neosr", **SMALL_WITH_MIXERS)), "nearest"),
    ],
)
def test_the_first_output_is_the_enlarged_input(network: nn.Module, mode: str) -> None:
    low = torch.rand(2, 3, 9, 7)
    start_as_enlargement(network)
    high = network(low)
    torch.testing.assert_close(high, F.interpolate(low, high.shape[-2:], mode=mode))
    high.sum().backward()
    assert all(parameter.grad.any() for parameter in list(network.to_img.parameters())[-2:])


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_a_network_that_cannot_says_so(scale: int) -> None:
    with pytest.raises(UsageError, match="cannot start as a plain enlargement"):
        start_as_enlargement(ESCRealM(ESCRealMConfig(scale, **SMALL_WITH_MIXERS)))


def test_learned_sampling_starts_close_to_it() -> None:
    network, low = ESCReal(ESCRealConfig(3, head="dysample", **SMALL_WITH_MIXERS)), torch.rand(1, 3, 9, 7)
    start_as_enlargement(network)
    with torch.inference_mode():
        high = network(low)
    torch.testing.assert_close(high, F.interpolate(low, high.shape[-2:], mode="bilinear"), rtol=0, atol=0.1)
