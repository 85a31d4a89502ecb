"""Transform a picture's luma to the frequencies of 8x8 blocks, in which JPEG leaves its traces."""

import torch
from torch import Tensor

BLOCK_PX = 8

_MOST_TILES = 3
_TILE_PX = 320
"""Side of a tile. Of a larger picture, 3x3 tiles spread over it are transformed: about one megapixel."""


def cosine_blocks(picture: Tensor) -> Tensor:
    """Transform the luma to frequencies, in blocks of 8x8.

    Args:
        picture: Tensor of shape (1, 3, H, W), uint8, uint16, or float in [0, 1].

    Returns:
        Tensor of shape (blocks, 8, 8), float32, with rows and columns by frequency, from the orthogonal
        transform of luma from 0 to 255. A picture smaller than a block has no blocks. Of a large picture,
        only tiles are transformed.
    """
    rows, columns = (_offsets(side) for side in picture.shape[-2:])
    cosines = _cosines()
    tiles = [_blocks(luma_255(picture[..., row, column])) for row in rows for column in columns]
    return cosines @ torch.cat(tiles) @ cosines.T


def _offsets(side_px: int) -> list[slice]:
    """Return the parts of a side that are transformed, in whole blocks counted from its beginning."""
    if side_px <= _MOST_TILES * _TILE_PX:
        return [slice(side_px // BLOCK_PX * BLOCK_PX)]
    last = (side_px - _TILE_PX) // BLOCK_PX
    starts = (last * number // (_MOST_TILES - 1) * BLOCK_PX for number in range(_MOST_TILES))
    return [slice(start, start + _TILE_PX) for start in starts]


def luma_255(picture: Tensor) -> Tensor:
    """Return the luma of a picture, of shape (H, W), float32 from 0 to 255.

    Args:
        picture: See ``cosine_blocks``.
    """
    largest = 1 if picture.is_floating_point() else torch.iinfo(picture.dtype).max
    weights = torch.tensor((0.299, 0.587, 0.114)).view(3, 1, 1) * (255 / largest)
    return (picture[0].float() * weights).sum(dim=0)


def _blocks(luma: Tensor) -> Tensor:
    """Cut luma of shape (H, W), multiples of 8, into blocks of shape (blocks, 8, 8)."""
    height, width = (side // BLOCK_PX for side in luma.shape)
    return luma.view(height, BLOCK_PX, width, BLOCK_PX).transpose(1, 2).flatten(0, 1)


def _cosines() -> Tensor:
    """Make the orthogonal matrix of the discrete cosine transform, of shape (8, 8)."""
    samples = torch.arange(BLOCK_PX)
    basis = torch.cos(torch.pi / BLOCK_PX * (samples + 0.5) * samples[:, None])
    return torch.nn.functional.normalize(basis, dim=1)
