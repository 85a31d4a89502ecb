"""Every supported network gives the output of the reference implementation, for one picture and a batch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from esc_cli.checkpoints.checkpoint import load_checkpoint
from esc_cli.networks.architectures.lte import LTE
from esc_cli.networks.attention.windows import use_attention
from esc_cli.networks.grid import Grid

VectorPath = Callable[[str], Path]

TOLERANCE = 1e-4

VECTORS = (
    "esc_small_x2",
    "esc_small_x3",
    "esc_full_x4",
    "esc_k9_w16_x2",
    "esc_xl_shape_x2",
    "esc_fp_small_x2",
    "esc_fp_full_x4",
    "esc_real_nearest_x4",
    "esc_real_dysample_x4",
    "esc_rib_x2",
    "esc_flashbias_r48_x2",
    "esc_realm_conv_x1",
    "esc_realm_dysample_x4",
    "esc_realm_nounshuffle_x2",
    "esc_realm_pixelshuffle_x2",
    "esc_realm_psdirect_x3",
    "trainner_escrealm_transpose_x2",
    "trainner_escrealm_transpose_x4",
    "neosr_esc_real_x4",
    "esc_lte_2.5",
)

# Naive attention on ESC-RIB's windows of 4096 tokens takes half a minute. Flex and flash have other tests.
CASES = tuple(
    (name, backend)
    for name in VECTORS
    for backend in ("naive", "sdpa")
    if (name, backend) != ("esc_rib_x2", "naive")
)


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_network_equals_reference(vector_path: VectorPath, name: str, backend: str) -> None:
    network = load_checkpoint(vector_path(f"{name}.safetensors")).network
    use_attention(network, backend)
    vector = np.load(vector_path(f"{name}.npz"))
    low, expected = torch.from_numpy(vector["input"]), torch.from_numpy(vector["output"])
    before = low.clone()
    sizes = [(pixels.shape[-2], pixels.shape[-1]) for pixels in (low, expected)]
    asked = {"grid": Grid.between(*sizes)} if isinstance(network, LTE) else {}
    with torch.inference_mode():
        alone = network(low, **asked)
        batch = network(torch.cat((low.flip(-1), low)), **asked)
        beside = network(low.flip(-1), **asked)
    assert (alone - expected).abs().max() <= TOLERANCE
    assert (batch - torch.cat((beside, expected))).abs().max() <= TOLERANCE
    assert torch.equal(low, before)


def test_averaged_weights_are_preferred(vector_path: VectorPath) -> None:
    wrapped = load_checkpoint(vector_path("esc_small_x2.pth")).network.state_dict()
    bare = load_checkpoint(vector_path("esc_small_x2.safetensors")).network.state_dict()
    assert all(torch.equal(wrapped[key], bare[key]) for key in bare)
