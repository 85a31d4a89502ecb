"""DySample: upsampling at learned sampling positions (ICCV 2023), used as a head of ESC-Real."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 4
"""Number of channel groups; a group shares sampling positions.

No tensor shows this number. It is 4 in every known checkpoint.
"""


def check_groups(dim: int) -> None:
    """Check that channels can be divided into groups.

    Raises:
        ValueError: They cannot.
    """
    if dim % GROUPS:
        raise ValueError(f"{dim} channels cannot be divided into {GROUPS} groups")


class DySample(nn.Module):
    """Sample (N, C, H, W) at ``scale``^2 learned positions around each pixel, then mix the channels.

    The positions are not bounded, so the step reads the whole map.

    Source: arXiv 2308.15085 (the static-scope form), as in ESC's published code.
    """

    init_pos: Tensor

    def __init__(self, dim: int, out_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.end_conv = nn.Conv2d(dim, out_channels, 1)
        self.offset = nn.Conv2d(dim, 2 * GROUPS * scale**2, 1)
        self.scope = nn.Conv2d(dim, 2 * GROUPS * scale**2, 1, bias=False)
        nn.init.trunc_normal_(self.offset.weight, std=0.02)
        nn.init.zeros_(self.scope.weight)
        self.register_buffer("init_pos", self._regular_offsets())

    def _regular_offsets(self) -> Tensor:
        """Return the offsets of the regular grid in pixels, (1, 2 * GROUPS * scale^2, 1, 1), x first."""
        scale = self.scale
        steps = (torch.arange(scale) - (scale - 1) / 2) / scale
        x, y = steps.repeat(scale), steps.repeat_interleave(scale)
        return torch.stack((x, y)).repeat(1, GROUPS).reshape(1, -1, 1, 1)

    def forward(self, features: Tensor, start: int = 0, stop: int | None = None) -> Tensor:
        """Upsample the rows from ``start`` to ``stop`` (by default all).

        Args:
            features: The whole map, (N, dim, H, W): the positions may lie anywhere.
            start: The first row of the map to upsample.
            stop: The row after the last one to upsample.

        Returns:
            (N, out_channels, scale rows, scale W).
        """
        n, _, height, width = features.shape
        rows = features[:, :, start:stop]
        offsets = self.offset(rows) * self.scope(rows).sigmoid() * 0.5 + self.init_pos
        positions = self._normalised_positions(offsets, start, height)  # (N GROUPS, scale rows, scale W, 2)
        sampled = F.grid_sample(
            features.reshape(n * GROUPS, -1, height, width).to(positions.dtype),
            positions,
            mode="bilinear",
            align_corners=False,
            padding_mode="border",
        )
        return self.end_conv(sampled.view(n, -1, *sampled.shape[-2:]).to(features.dtype))  # type: ignore[no-any-return]

    def _normalised_positions(self, offsets: Tensor, start: int, height: int) -> Tensor:
        n, _, length, width = offsets.shape
        # Half precision is too coarse for positions: grid_sample would read outside the map.
        offsets = offsets.to(torch.promote_types(offsets.dtype, torch.float32))
        rows = torch.arange(start, start + length, dtype=offsets.dtype, device=offsets.device) + 0.5
        columns = torch.arange(width, dtype=offsets.dtype, device=offsets.device) + 0.5
        x, y = offsets.view(n, 2, -1, length, width).unbind(1)  # each (N, GROUPS * scale^2, H, W)
        x = (x + columns) * (2 / width) - 1
        y = (y + rows[:, None]) * (2 / height) - 1
        spread = [F.pixel_shuffle(axis, self.scale).flatten(0, 1) for axis in (x, y)]
        return torch.stack(spread, dim=-1)
