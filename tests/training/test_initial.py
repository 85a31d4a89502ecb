"""A relative's weights start another network where it left off."""

import pytest
import torch

from esc_cli.errors import WeightsError
from esc_cli.networks.esc import ESC, ESCConfig
from esc_cli.training.initial import adapt_weights

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
    # Bilinear without aligned corners: the corners are copied, the mean of each colour stays.
    torch.testing.assert_close(new[:, ::3, ::3], old)
    torch.testing.assert_close(new.mean((1, 2)), old.mean((1, 2)))
    assert torch.equal(adapted["plk_filter"], source.plk_filter)


def test_other_widths_are_refused() -> None:
    other = ESC(ESCConfig(2, blocks=1, **{**SMALL, "mixers": 2}))
    with pytest.raises(WeightsError, match="differ in"):
        adapt_weights(network(2, 1).state_dict(), other.state_dict())
