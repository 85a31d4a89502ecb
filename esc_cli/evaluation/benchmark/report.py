"""The results of a benchmark, and their bar charts.

Drawing needs matplotlib, which is optional.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.errors import EscError
from esc_cli.evaluation.benchmark.candidates import Settings
from esc_cli.evaluation.benchmark.measurement import Deviation, Timing
from esc_cli.evaluation.figures import saved_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Measured:
    """The measurements of one way of running a network on pictures of one size.

    Attributes:
        chosen: Settings with each ``auto`` resolved that is decided on loading, which excludes the tiling.
        tiling: Description of how the picture was divided, and why.
        timing: Time for a whole picture, from host memory to host memory.
        speedup: Speed relative to the reference, as the median over the rounds; None if the reference failed.
        matmuls: Time in multiples of a matrix product, as the median over the rounds.
        peak_bytes: Peak memory, including loading and the first run: that of the whole process on the CPU,
            that of the tensors on the device on CUDA. None if the system does not report it.
        deviation: Deviation from the float64 result; None for large pictures.
    """

    chosen: Settings
    tiling: tuple[str, ...]
    timing: Timing
    speedup: float | None
    matmuls: float
    peak_bytes: int | None
    deviation: Deviation | None


@dataclass(frozen=True)
class Row:
    """A way of running a network.

    Attributes:
        settings: Requested settings.
        outcome: The measurements, or the error that prevents this way from running.
    """

    settings: Settings
    outcome: Measured | EscError


@dataclass(frozen=True)
class Workload:
    """A network with one picture size, and all ways of running it.

    Attributes:
        model: Name of the model or of its file.
        scale: Output pixels per input pixel.
        height: Height of the low-resolution picture, in pixels.
        width: Width of the low-resolution picture, in pixels.
        macs: Number of multiply-accumulates. None for a network of another family than ESC.
        parameters: Number of parameters of the network.
        rows: All ways, with the reference first.
    """

    model: str
    scale: int
    height: int
    width: int
    macs: int | None
    parameters: int
    rows: tuple[Row, ...]

    @property
    def fastest(self) -> Measured | None:
        """The measurements with the shortest median time; None if no way could run."""
        ran = (row.outcome for row in self.rows if isinstance(row.outcome, Measured))
        return min(ran, key=lambda measured: measured.timing.median_s, default=None)


@dataclass(frozen=True)
class BenchmarkReport:
    """All results of a benchmark.

    Attributes:
        device: Device of the measurements.
        device_name: Product name of the device; empty for the CPU.
        threads: Number of threads that torch used on the CPU.
        torch_version: Version of torch.
        warm_up: Number of rounds before the measured ones.
        rounds: Number of measured rounds.
        matmul: Time of a float32 matrix product on the same device.
        matmul_side: Side of the square matrices in this product.
        idle_bytes: Peak memory of a process that only imported torch and this program; None if the memory
            in the rows is not that of a process.
        workloads: Workloads, ordered by network, then by size.
    """

    device: str
    device_name: str
    threads: int
    torch_version: str
    warm_up: int
    rounds: int
    matmul: Timing
    matmul_side: int
    idle_bytes: int | None
    workloads: tuple[Workload, ...]


@dataclass(frozen=True)
class Flatness:
    """The time per pixel for several picture sizes, for one way of running one network.

    Attributes:
        model: Name of the model or of its file.
        scale: Output pixels per input pixel.
        settings: The way of running.
        seconds: Seconds per million low-resolution pixels, by (height, width).
    """

    model: str
    scale: int
    settings: Settings
    seconds: Mapping[tuple[int, int], float]

    @property
    def spread(self) -> float:
        """Time per pixel of the slowest size, divided by that of the fastest size."""
        return max(self.seconds.values()) / min(self.seconds.values())


def flatness(report: BenchmarkReport) -> list[Flatness]:
    """Compare the picture sizes of each network that ran in one way on several sizes."""
    found: dict[tuple[str, int, Settings], dict[tuple[int, int], float]] = {}
    for work in report.workloads:
        for row in work.rows:
            if isinstance(row.outcome, Measured):
                seconds = row.outcome.timing.median_s / (work.height * work.width) * 10**6
                by_size = found.setdefault((work.model, work.scale, row.settings), {})
                by_size[work.height, work.width] = seconds
    return [Flatness(*key, seconds) for key, seconds in found.items() if len(seconds) > 1]


_REFERENCE_COLOR, _COLOR = "0.6", "tab:blue"


def draw_plot(report: BenchmarkReport, path: Path) -> None:
    """Draw the speedup over the reference and the peak memory of each way.

    Args:
        report: Report to draw. Each workload becomes a pair of charts.
        path: Path of a .png or .svg file. An existing file is replaced.

    Raises:
        UsageError: The plot cannot be drawn; see ``check_plot``.
        OutputError: The file cannot be written.
    """
    works = report.workloads
    heights = [2 + len(work.rows) for work in works]
    with saved_figure(path, (10, 0.35 * sum(heights))) as figure:
        charts = figure.subplots(len(works), 2, squeeze=False, height_ratios=heights, sharey="row")
        for work, (speed, memory) in zip(works, charts, strict=True):
            _draw_bars(speed, work, _speedup, "times as fast as the reference", "{:.2f}")
            _draw_bars(memory, work, _peak_megabytes, "peak memory, MB", "{:.0f}")
            speed.set_title(f"{work.model} x{work.scale}, {work.height}x{work.width}", loc="left")


def _speedup(measured: Measured) -> float | None:
    return measured.speedup


def _peak_megabytes(measured: Measured) -> float | None:
    return None if measured.peak_bytes is None else measured.peak_bytes / 10**6


def _label(row: Row) -> str:
    """Return the four settings of a way, with ``auto`` resolved if that is known."""
    way = row.outcome.chosen if isinstance(row.outcome, Measured) else row.settings
    return f"{way.attention}, {way.precision}, {way.tiling}, {way.runtime}"


def _draw_bars(
    axes: "Axes", work: Workload, value: Callable[[Measured], float | None], title: str, form: str
) -> None:
    """Draw a bar for each row, with the reference on top. A row without a value keeps its place."""
    values = [value(row.outcome) if isinstance(row.outcome, Measured) else None for row in work.rows]
    places = range(len(values))
    bars = axes.barh(
        places, [each or 0 for each in values], color=[_REFERENCE_COLOR, *[_COLOR] * (len(values) - 1)]
    )
    axes.bar_label(bars, ["-" if each is None else form.format(each) for each in values], padding=3)
    axes.set_yticks(places, [_label(row) for row in work.rows])
    axes.yaxis.set_inverted(True)
    axes.margins(x=0.15)
    axes.set_xlabel(title)
    axes.spines[["top", "right"]].set_visible(False)
