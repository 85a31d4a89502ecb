import numpy as np
import torch
from PIL import Image
from torch import Tensor

from esc_cli.media.pixels.alpha import composite


def noise(channels: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(height * 100 + width)
    return torch.randint(0, 256, (1, channels, height, width), dtype=torch.uint8, generator=generator)


def test_composite_is_pillows() -> None:
    color, alpha = noise(3, 40, 50), noise(1, 40, 50)
    ours = composite(color, alpha, (255, 128, 0))[0].permute(1, 2, 0).numpy()
    above = Image.fromarray(color[0].permute(1, 2, 0).contiguous().numpy())
    below = Image.new("RGB", above.size, (255, 128, 0))
    theirs = np.asarray(Image.composite(above, below, Image.fromarray(alpha[0, 0].numpy())))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    opaque = torch.full_like(alpha, 255)
    assert composite(color, opaque, (1, 2, 3)).equal(color)
