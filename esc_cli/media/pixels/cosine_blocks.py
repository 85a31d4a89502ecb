"""A picture's luma in blocks of 8x8, by frequency: as JPEG sees it, and where traces of a past are found."""

import torch
from torch import Tensor

BLOCK_PX = 8

_MOST_TILES = 3
_TILE_PX = 320
"""A larger picture is looked at in 3x3 tiles of this side, spread over it: about one megapixel."""


def cosine_blocks(picture: Tensor) -> Tensor:
    """Transform the luma's blocks.

    Args:
        picture: (1, 3, H, W), uint8, uint16, or float in [0, 1].

    Returns:
        (blocks, 8, 8), float32, rows and columns of each by frequency, orthogonal, of luma from 0 to 255; no
        blocks of pictures smaller than one. Of a large picture only tiles are looked at.
    """
    rows, columns = (_offsets(side) for side in picture.shape[-2:])
    cosines = _cosines()
    tiles = [_blocks(luma_255(picture[..., row, column])) for row in rows for column in columns]
    return cosines @ torch.cat(tiles) @ cosines.T


def _offsets(side_px: int) -> list[slice]:
    """Cut a side into what is looked at of it, in whole blocks counted from its beginning."""
    if side_px <= _MOST_TILES * _TILE_PX:
        return [slice(side_px // BLOCK_PX * BLOCK_PX)]
    last = (side_px - _TILE_PX) // BLOCK_PX
    starts = (last * number // (_MOST_TILES - 1) * BLOCK_PX for number in range(_MOST_TILES))
    return [slice(start, start + _TILE_PX) for start in starts]


def luma_255(picture: Tensor) -> Tensor:
    """Give the luma, (H, W), float32 from 0 to 255, of what ``cosine_blocks`` takes."""
    largest = 1 if picture.is_floating_point() else torch.iinfo(picture.dtype).max
    weights = torch.tensor((0.299, 0.587, 0.114)).view(3, 1, 1) * (255 / largest)
    return (picture[0].float() * weights).sum(dim=0)


def _blocks(luma: Tensor) -> Tensor:
    """Cut (H, W), multiples of 8, into (blocks, 8, 8)."""
    height, width = (side // BLOCK_PX for side in luma.shape)
    return luma.view(height, BLOCK_PX, width, BLOCK_PX).transpose(1, 2).flatten(0, 1)


def _cosines() -> Tensor:
    """Make the orthogonal matrix (8, 8) of the discrete cosine transform."""
    samples = torch.arange(BLOCK_PX)
    basis = torch.cos(torch.pi / BLOCK_PX * (samples + 0.5) * samples[:, None])
    return torch.nn.functional.normalize(basis, dim=1)
