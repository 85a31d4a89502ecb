"""Draw a benchmark as bar charts of speed and memory. Drawing needs matplotlib, which is optional."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.evaluation.benchmark.report import BenchmarkReport, Measured, Row, Workload
from esc_cli.evaluation.figures import saved_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
