from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from esc_cli.analysis.subject import load_subject, low_picture
from esc_cli.errors import DeviceError, OutOfMemoryError, WeightsError
from esc_cli.evaluation.degradation.bicubic import downscale
from esc_cli.networks.architectures.lte import LTE, LTEConfig


def test_a_network_of_one_scale() -> None:
    subject = load_subject("esc-light", 2, "cpu")
    assert (subject.name, subject.scale, subject.device) == ("esc-light", 2, torch.device("cpu"))
    assert not any(weights.requires_grad for weights in subject.network.parameters())
    with pytest.raises(WeightsError, match="no scale x7"):
        load_subject("esc-light", 7, "cpu")
    with pytest.raises(DeviceError):
        load_subject("esc-light", 2, "abacus")


@pytest.mark.parametrize(("asked", "scale"), [(None, 4), (3, 3)])
def test_a_network_of_any_scale(
    save_network: Callable[[nn.Module], Path], asked: int | None, scale: int
) -> None:
    config = LTEConfig(
        dim=16, partial_dim=8, heads=2, blocks=1, mixers=1, window_size=8, first_hidden_dim=16, hidden_dim=16,
        kernel_size=5, texture_dim=8, decoder_dims=(8,),
    )  # fmt: skip
    subject = load_subject(save_network(LTE(config)), asked, "cpu")
    assert subject.scale == scale
    assert subject.network(torch.rand(1, 3, 8, 9)).shape == (1, 3, 8 * scale, 9 * scale)


def test_originals_are_shrunk_and_low_pictures_are_not(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (11, 9, 3), np.uint8)
    path = tmp_path / "original.png"
    Image.fromarray(pixels).save(path)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    assert torch.equal(low_picture(path, 2, is_low=True), tensor)
    assert torch.equal(low_picture(path, 2, is_low=False), downscale(tensor[..., :10, :8], 2))


def test_a_devices_lack_of_memory_is_told() -> None:
    subject = load_subject("bicubic", 2, "cpu")
    with pytest.raises(OutOfMemoryError, match="cpu does not have enough"), subject.in_float32():
        raise torch.OutOfMemoryError
