"""Run one network over a picture: pad it, run it in the best way, and assemble the result on the host."""

import math
import sys
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from esc_cli.engine.borders import NOT_WRAPPED, Wraps
from esc_cli.engine.executors.base import Executor, Runtime
from esc_cli.engine.executors.registry import is_standard
from esc_cli.engine.memory.footprint import Work
from esc_cli.engine.memory.free import free_bytes, release_reserve
from esc_cli.engine.output import Output, Progress, ReportPixels, host_picture
from esc_cli.engine.pixels import movable
from esc_cli.engine.tiling.choice import Mode, TilingRequest, Way, choose_ways
from esc_cli.engine.tiling.shared_statistics import Statistics
from esc_cli.engine.tiling.tiled import TiledRun, TileSizes
from esc_cli.engine.tiling.tiles import Span
from esc_cli.engine.transfer import Download
from esc_cli.errors import OutOfMemoryError
from esc_cli.networks.architectures.base import NetworkConfig, TilingAdvice
from esc_cli.networks.grid import Grid
from esc_cli.networks.padding import reflect_pad


@dataclass(frozen=True)
class PassRequest:
    """A picture to upscale in a pass, and the result that is asked for.

    Attributes:
        low: The picture, (N, 3, H, W), any pixel type, any device. It is not modified.
        dtype: Pixel type of the result.
        size: Size of an arbitrary-scale network's result, (height, width).
        wraps: Axes along which the picture wraps.
        samples: If the picture is a part of a larger one, a picture that stands for the whole. The network
            then pools over it, if the runtime can share what is pooled.
    """

    low: Tensor
    dtype: torch.dtype
    size: tuple[int, int] | None = None
    wraps: Wraps = NOT_WRAPPED
    samples: Tensor | None = None


@dataclass(frozen=True)
class PassResult:
    """The result of a pass over a picture.

    Attributes:
        high: The upscaled picture, on the host.
        way: A text that says how the picture was run and why.
        overflow_retries: Number of pieces that overflowed in half precision and were run again in float32.
    """

    high: Tensor
    way: str
    overflow_retries: int


class Pass:
    """Run one network over pictures, and remember what did not fit in memory."""

    def __init__(self, executor: Executor, tiling: TilingRequest) -> None:
        self._executor = executor
        self._tiling = tiling
        self._too_large_px: dict[Mode, int] = {}
        self._tile_px = self._strip_rows = sys.maxsize

    @property
    def config(self) -> NetworkConfig:
        """Configuration of the network."""
        return self._executor.config

    def run(self, request: PassRequest, report: ReportPixels) -> PassResult:
        """Upscale a picture.

        The picture is padded by reflection, at the right and the bottom, to a size that suits the network (a
        multiple of the attention window), and the result is cropped, as in the published evaluation. An axis
        that wraps is not padded.

        Args:
            request: The picture, and the result that is asked for.
            report: Called with the low-resolution pixels as they are finished, N H W in total.

        Returns:
            The upscaled picture, (N, 3, scale H, scale W) or of the requested size, on the host.

        Raises:
            OutOfMemoryError: The result does not fit in memory, or no way to compute it does.
            DeviceError: The device failed.
            WeightsError: The network's values are not finite.
        """
        low, size, wraps = request.low, request.size, request.wraps
        n, _, height, width = low.shape
        executor = self._executor
        cells = self._whole_cells(low, wraps)
        if cells != (1, 1):
            return self._run_repeated(request, cells, report)
        retries, scale = executor.overflow_retries, executor.config.scale
        grid = None if size is None else Grid.between((height, width), size)
        high = host_picture((n, 3, *(size or (scale * height, scale * width))), request.dtype)
        statistics = None if request.samples is None else self._gathered(request.samples)
        padded = _padded(low.to(executor.device), executor.config, wraps)
        progress = Progress(n * height * width, report)
        with Download(executor.device) as download:
            way = self._run_padded(padded, Output(high, scale, grid, progress, download, wraps, statistics))
        progress.finish()
        return PassResult(high, way, executor.overflow_retries - retries)

    def _gathered(self, samples: Tensor) -> Statistics | None:
        """Return what the network pools over a picture, or None if nothing can be shared."""
        executor = self._executor
        if not executor.shares_statistics:
            return None
        return executor.gather(_padded(samples.to(executor.device), executor.config, NOT_WRAPPED))

    def _whole_cells(self, low: Tensor, wraps: Wraps) -> tuple[int, int]:
        """Return how often a picture that wraps must be repeated, so that it can be unshuffled as a whole."""
        cell_px = self.config.body_factor
        rows, columns = (cell_px // math.gcd(cell_px, side) for side in low.shape[-2:])
        return (rows if wraps.rows else 1), (columns if wraps.columns else 1)

    def _run_repeated(self, request: PassRequest, times: tuple[int, int], report: ReportPixels) -> PassResult:
        """Upscale several copies of a picture side by side, and keep the first one."""
        low = request.low
        height, width = (self.config.scale * side for side in low.shape[-2:])
        repeated = movable(low).repeat(1, 1, *times).view(low.dtype)
        result = self.run(replace(request, low=repeated), lambda px: None)
        report(low[:, 0].numel())
        return replace(result, high=result.high[..., :height, :width].contiguous())

    def _run_padded(self, padded: Tensor, output: Output) -> str:
        """Run a padded picture, (N, 3, H, W), in the first way that fits, and return a text that says how."""
        n, _, height, width = padded.shape
        executor = self._executor
        config = _as_large(executor.config, output.grid)
        work = Work(config, executor.dtype, executor.attention, n, height, width, executor.runtime)
        # The result is already allocated, but the system provides its pages only when they are written.
        unwritten_bytes = output.high.nbytes if executor.device.type == "cpu" else 0
        left_bytes = free_bytes(executor.device) - unwritten_bytes
        ways = self._ways(work, left_bytes, output)
        for way in ways:
            if work.area_px < self._too_large_px.get(way.mode, sys.maxsize):
                if self._attempt(way, padded, output):
                    return _in_words(way, left_bytes, executor.runtime, config.tiling)
                release_reserve()
                if way is not ways[-1]:  # the last way is tried again for the next picture
                    self._too_large_px[way.mode] = work.area_px
        raise OutOfMemoryError(
            f"{executor.device} does not have enough memory for {height}x{width} pixels",
            hint="close other programs, or choose another device, another tiling or a smaller model",
        )

    def _ways(self, work: Work, left_bytes: int, output: Output) -> tuple[Way, ...]:
        """Return the ways to run a picture, in the order in which they are tried."""
        # If rows wrap, strips do not overwrite maps that are done. ESC-light x2 on 640x640 in strips takes
        # 797 MB instead of 690, and half of the free memory is left for other networks.
        usable_bytes = left_bytes // 2 if output.wraps.rows else left_bytes
        given = output.statistics is not None
        on_cpu = self._executor.device.type == "cpu"
        ways = choose_ways(self._tiling, work, usable_bytes, on_cpu and not given)
        if given:  # strips pool over the picture that they are cut from
            ways = tuple(way for way in ways if way.mode != "exact")
        # Tiles of an arbitrary grid have no pixels in common, and a tile does not reach the opposite border.
        if output.grid is not None or output.wraps:
            ways = tuple(way for way in ways if way.sizes is None)
        return ways

    def _attempt(self, way: Way, padded: Tensor, output: Output) -> bool:
        """Run a picture in one way. Return False if memory ran out."""
        output.progress.begin()
        try:
            if way.sizes is not None:
                self._run_tiles(way.sizes, padded, output)
            elif way.mode == "exact":
                self._run_exact(padded, output)
            else:
                whole = Span(0, padded.shape[-2]), Span(0, padded.shape[-1])
                output.write(*whole, self._run_whole(padded, output))
        except torch.OutOfMemoryError:
            return False
        return True

    def _run_whole(self, padded: Tensor, output: Output) -> Tensor:
        if output.wraps:
            return self._executor(padded, wraps=output.wraps)
        return self._executor(padded, output.grid, output.statistics)

    def _run_exact(self, padded: Tensor, output: Output) -> None:
        self._strip_rows = self._executor.stream(
            padded,
            self._strip_rows,
            emit=output.write,
            begin=output.progress.begin,
            tick=output.progress.add_share,
            grid=output.grid,
            wraps=output.wraps,
        )

    def _run_tiles(self, sizes: TileSizes, padded: Tensor, output: Output) -> None:
        sizes = replace(sizes, largest_px=min(sizes.largest_px, self._tile_px))
        tiled = TiledRun(self._executor, sizes, output.statistics)
        area_px = padded[:, 0].numel()

        def write(rows: Span, columns: Span, block: Tensor) -> None:
            output.write(rows, columns, block)
            output.progress.add_share(block[:, 0].numel() / output.scale**2 / area_px)

        tiled.run(padded, write)
        if tiled.tile_px < sizes.largest_px:
            self._tile_px = tiled.tile_px


def _padded(low: Tensor, config: NetworkConfig, wraps: Wraps) -> Tensor:
    """Pad a picture to a size that suits the network, along the axes that do not wrap."""
    height, width = low.shape[-2:]
    padded_height, padded_width = config.padded_size(height, width)
    right, bottom = padded_width - width, padded_height - height
    return reflect_pad(low, right=0 if wraps.columns else right, bottom=0 if wraps.rows else bottom)


def _as_large(config: NetworkConfig, grid: Grid | None) -> NetworkConfig:
    """Return the configuration to estimate memory with. Its scale is rounded up to a whole number."""
    if grid is None:
        return config
    return replace(config, scale=math.ceil(max(grid.row_factor, grid.column_factor)))


def _in_words(way: Way, left_bytes: int, runtime: Runtime, advice: TilingAdvice) -> str:
    against = "" if advice == "supported" else " (this network's authors advise against tiles)"
    names = {
        "none": "the whole picture at once",
        "exact": "exact, in strips",
        "overlap": f"tiles of {way.sizes.largest_px} pixels that overlap{against}" if way.sizes else "",
    }
    needed, left = (f"{count // 2**20:,} MB" for count in (way.needed_bytes, left_bytes))
    by = "" if is_standard(runtime) else f" by {runtime.title}"
    return f"{names[way.mode]}{by}: needs up to {needed} of {left} free"
