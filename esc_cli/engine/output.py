"""Put finished pixels in their place in the result, and report the progress of the work."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from esc_cli.engine.borders import Wraps
from esc_cli.engine.memory.free import check_room, host_free_bytes
from esc_cli.engine.pixels import from_unit
from esc_cli.engine.tiling.shared_statistics import Statistics
from esc_cli.engine.tiling.tiles import Span
from esc_cli.engine.transfer import Download
from esc_cli.networks.grid import Grid

ReportPixels = Callable[[int], None]
"""Receives the number of low-resolution pixels that were finished since the last call."""


def host_picture(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Allocate a result after checking that it fits, because the system promises more memory than it has.

    Raises:
        OutOfMemoryError: The result does not fit in memory.
    """
    what = f"the result of {shape[-2]}x{shape[-1]} pixels needs"
    check_room(what, math.prod(shape) * dtype.itemsize, host_free_bytes(), "choose a smaller scale")
    # The result is an ordinary tensor that the caller may change. All other tensors are for inference only.
    with torch.inference_mode(mode=False):
        return torch.empty(shape, dtype=dtype)


class Progress:
    """Convert shares of the work to whole pixels, at most the total."""

    def __init__(self, total_px: int, report: ReportPixels) -> None:
        self._total_px = total_px
        self._report = report
        self._share = 0.0
        self._reported_px = 0

    def begin(self) -> None:
        """Start the work, perhaps again. Pixels that were already reported stay reported."""
        self._share = 0.0

    def add_share(self, share: float) -> None:
        """Add a share of the work, which is 1 in total."""
        self._share += share
        self._report_up_to(min(int(self._share * self._total_px), self._total_px))

    def finish(self) -> None:
        """Report all pixels that were not reported yet."""
        self._report_up_to(self._total_px)

    def _report_up_to(self, done_px: int) -> None:
        if done_px > self._reported_px:
            self._report(done_px - self._reported_px)
            self._reported_px = done_px


@dataclass(frozen=True)
class Output:
    """The destination of finished pixels, and what a run of a picture needs besides the picture.

    Attributes:
        high: The result, (N, 3, scale H, scale W) or of the size of ``grid``, on the host.
        scale: Scale of the network.
        grid: Where the result's pixels lie, for an arbitrary-scale network; else None.
        progress: Progress of the work.
        download: Copies pixels to the host.
        wraps: Axes along which the picture wraps.
        statistics: What the network pools, if that was gathered from another picture.
    """

    high: Tensor
    scale: int
    grid: Grid | None
    progress: Progress
    download: Download
    wraps: Wraps
    statistics: Statistics | None

    def write(self, rows: Span, columns: Span, block: Tensor) -> None:
        """Convert finished pixels on their device, which overwrites them, and copy them to their place."""
        place = self._place(rows, columns)
        cropped = block[..., : place.shape[-2], : place.shape[-1]]
        self.download.put(from_unit(cropped, self.high.dtype), place)

    def _place(self, rows: Span, columns: Span) -> Tensor:
        if self.grid is not None:
            return self.high[..., self.grid.rows_above(rows.start) : self.grid.rows_above(rows.stop), :]
        height, width = (side // self.scale for side in self.high.shape[-2:])
        return self.high[..., rows.enlarged(self.scale, height), columns.enlarged(self.scale, width)]
