"""A whole picture through one network: padded, tiled, and put together on the host."""

import math
import sys
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from esc_cli.engine.forward import Forward
from esc_cli.engine.memory import free_bytes, host_free_bytes
from esc_cli.engine.pixels import from_unit
from esc_cli.engine.tile_choice import TilingRequest, Work, choose_tile_sizes
from esc_cli.engine.tiled import TiledForward, TileSizes
from esc_cli.engine.tiles import Span
from esc_cli.errors import OutOfMemoryError
from esc_cli.networks.padding import pad_to_multiple
from esc_cli.networks.variants import NetworkConfig


class Pass:
    """Runs one network over pictures, and remembers which tiles were too large for the memory."""

    def __init__(self, forward: Forward, request: TilingRequest) -> None:
        self._forward = forward
        self._request = request
        self._limit_px = sys.maxsize

    @property
    def config(self) -> NetworkConfig:
        """Of the network."""
        return self._forward.config

    @property
    def redone(self) -> int:
        """Tiles that overflowed in half precision and were done again in float32."""
        return self._forward.redone

    def run(self, low: Tensor, dtype: torch.dtype, report: Callable[[int], None]) -> Tensor:
        """Upscale a picture.

        The picture is padded by reflection, at the right and the bottom, to a multiple of the attention
        window, and the result cropped, as the published evaluation does.

        Args:
            low: (N, 3, H, W), any pixel type, any device; not written to.
            dtype: Pixel type of the result.
            report: Is told of low-resolution pixels as they are finished, N H W of them together.

        Returns:
            (N, 3, scale H, scale W) on the host.

        Raises:
            OutOfMemoryError: The result or the smallest tile does not fit in memory.
            WeightsError: The network's values are not finite.
        """
        height, width = low.shape[-2:]
        scale = self._forward.config.scale
        high = _host_picture((low.shape[0], 3, scale * height, scale * width), dtype)

        def write(rows: Span, columns: Span, block: Tensor) -> None:
            place = high[..., rows.enlarged(scale, height), columns.enlarged(scale, width)]
            cropped = block[..., : place.shape[-2], : place.shape[-1]]
            place.copy_(from_unit(cropped, dtype))
            report(place[:, 0].numel() // scale**2)

        padded = pad_to_multiple(low, self._forward.config.window_size)
        sizes = self._tile_sizes(padded, result_bytes=high.nbytes)
        tiled = TiledForward(self._forward, sizes)
        tiled.run(padded, write)
        if tiled.tile_px < sizes.largest_px:
            self._limit_px = tiled.tile_px
        return high

    def _tile_sizes(self, padded: Tensor, result_bytes: int) -> TileSizes:
        forward = self._forward
        on_host = forward.device.type == "cpu"
        # The result is allocated, but its pages are taken only when they are written.
        left_bytes = free_bytes(forward.device) - (result_bytes if on_host else 0)
        n, _, height, width = padded.shape
        work = Work(forward.config, forward.dtype, n, height, width)
        sizes = choose_tile_sizes(self._request, work, left_bytes, strict=on_host)
        return replace(sizes, largest_px=min(sizes.largest_px, self._limit_px))


def _host_picture(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Allocate a result that is sure to fit: the system promises more memory than it has."""
    needed, free = math.prod(shape) * dtype.itemsize, host_free_bytes()
    if needed > free:
        raise OutOfMemoryError(
            f"the result of {shape[-2]}x{shape[-1]} pixels needs {needed // 2**20} MB of memory, "
            f"and {free // 2**20} MB are free",
            hint="choose a smaller scale",
        )
    # An ordinary tensor, which the caller may change, where everything else is made for inference only.
    with torch.inference_mode(mode=False):
        return torch.empty(shape, dtype=dtype)
