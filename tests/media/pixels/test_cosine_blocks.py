"""Test that blocks are transformed orthogonally, in units of luma, and that large pictures are sampled."""

import math

import pytest
import torch

from esc_cli.media.pixels.cosine_blocks import cosine_blocks


def test_a_wave_is_one_coefficient() -> None:
    columns = torch.cos(math.pi / 8 * (torch.arange(8) + 0.5) * 3) * 0.25 + 0.5
    (block,) = cosine_blocks(columns.expand(1, 3, 8, 8))
    block[0, 0] -= 0.5 * 255 * 8  # the mean
    block[0, 3] -= 0.25 * 255 * math.sqrt(32)
    assert block.abs().max() < 0.01


def test_energy_is_kept() -> None:
    picture = torch.randint(256, (1, 1, 24, 40), dtype=torch.uint8).expand(-1, 3, -1, -1)
    blocks = cosine_blocks(picture)
    assert blocks.shape == (15, 8, 8)
    assert float(blocks.square().sum()) == pytest.approx(
        float(picture[:, 0].float().square().sum()), rel=1e-4
    )


def test_depth_does_not_matter() -> None:
    picture = torch.randint(256, (1, 3, 16, 16), dtype=torch.uint8)
    blocks = cosine_blocks(picture)
    for deeper in (picture.to(torch.uint16) * 257, picture / 255):
        assert torch.allclose(cosine_blocks(deeper), blocks, atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7)])
def test_small_pictures_have_none(size: tuple[int, int]) -> None:
    assert cosine_blocks(torch.zeros(1, 3, *size)).shape == (0, 8, 8)


def test_of_a_large_picture_a_megapixel_is_looked_at() -> None:
    rows = torch.arange(4003)[:, None].expand(-1, 2050) // 8 * 8
    blocks = cosine_blocks((rows % 65536).to(torch.uint16).expand(1, 3, -1, -1))
    assert len(blocks) == 9 * 40 * 40
    assert blocks[:, 1:].abs().max() < 0.01  # blocks are aligned to 8 rows, from the first to the last
    assert float(blocks[-1, 0, 0] / 8 * 257) == pytest.approx(3992, abs=1)
