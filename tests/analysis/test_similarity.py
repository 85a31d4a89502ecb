"""Test the similarity of layers in networks for which the answer is known."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from esc_cli.analysis import similarity as room
from esc_cli.analysis.similarity import Similarity, similarity
from esc_cli.errors import InputError, OutOfMemoryError, UsageError
from esc_cli.networks.architectures.esc import ESC, ESCConfig

SaveNetwork = Callable[[nn.Module], Path]


def repeat_first_block(network: ESC) -> None:
    """Make the second block a copy of the first one, with the same input features."""
    network.blocks[1].load_state_dict(network.blocks[0].state_dict())
    for block in network.blocks:
        nn.init.zeros_(block.conv_out.weight)  # a block returns its input
        nn.init.zeros_(block.conv_out.bias)


def test_a_repeated_layer_is_found(network: ESC, save_network: SaveNetwork, pictures: Path) -> None:
    repeat_first_block(network)
    with torch.no_grad():
        network.blocks[1].attn.to_out.weight.mul_(-3)
    seen: list[tuple[int, int]] = []
    found = similarity(
        pictures, save_network(network), device="cpu", progress=lambda done, total: seen.append((done, total))
    )
    assert (found.model, found.scale, found.pictures) == ("network.safetensors", 2, 6)
    assert (found.height, found.width) == (11, 12)
    assert [(pair.first, pair.second) for pair in found.pairs] == [("blocks.0.attn", "blocks.1.attn")]
    assert (found.cka, found.debiased_cka) == pytest.approx((1, 1), abs=1e-5)
    assert (found.cosine, found.correlation) == pytest.approx((1, 1), abs=1e-5)
    assert seen == [(count, 6) for count in range(1, 7)]


def test_a_layer_that_says_the_same_of_all_pictures(
    network: ESC, save_network: SaveNetwork, pictures: Path
) -> None:
    nn.init.zeros_(network.blocks[1].attn.to_out.weight)
    found = similarity(pictures, save_network(network), device="cpu")
    assert (found.cka, found.debiased_cka) == (0, 0)


def test_maps_of_the_token_itself_and_of_all_alike(
    network: ESC, save_network: SaveNetwork, pictures: Path
) -> None:
    tables = [block.attn.relative_position_bias for block in network.blocks]
    with torch.no_grad():
        for block in network.blocks:
            block.attn.to_qkv.weight.zero_()
            block.attn.relative_position_bias.zero_()
        tables[0][:, tables[0].shape[1] // 2] = 100.0  # the bias between a token and itself
    found = similarity(pictures, save_network(network), device="cpu")
    assert found.cosine == pytest.approx(64**-0.5, abs=1e-5)  # the identity and a constant map, 64 tokens


def test_low_pictures_are_taken_as_they_are(network: ESC, save_network: SaveNetwork, pictures: Path) -> None:
    found = similarity(pictures, save_network(network), is_low=True, device="cpu")
    assert (found.height, found.width) == (22, 24)


def test_means() -> None:
    pairs = tuple(
        room.LayerPair("a", "b", *numbers) for numbers in ((0.5, 0.1, 1.0, -0.4), (0.7, 0.2, 0.6, 0.2))
    )
    found = Similarity("model", 4, 5, 6, 7, pairs)
    means = (found.cka, found.debiased_cka, found.cosine, found.correlation)
    assert means == pytest.approx((0.6, 0.15, 0.8, -0.1))


def test_what_cannot_be_compared(
    save_network: SaveNetwork, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="'nearest' has no attention layers"):
        similarity(pictures, "nearest", device="cpu")
    config = ESCConfig(2, dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8)
    one = save_network(ESC(config))
    with pytest.raises(UsageError, match="one attention layer"):
        similarity(pictures, one, device="cpu")
    with pytest.raises(InputError, match="no folder"):
        similarity(pictures / "missing", "esc-light", device="cpu")
    with pytest.raises(InputError, match="has 3 pictures, but CKA needs 4"):
        similarity(pictures / "sub", "esc-light", device="cpu")
    monkeypatch.setattr(room, "host_free_bytes", lambda: 10**5)
    with pytest.raises(OutOfMemoryError, match="need 1 MB of memory, but only 0 MB are free"):
        similarity(pictures, "esc-light", 2, device="cpu")
