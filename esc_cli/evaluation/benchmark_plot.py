"""A benchmark as a picture: bars of speed and of memory. Needs matplotlib, which is optional."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from esc_cli.errors import OutputError, UsageError
from esc_cli.evaluation.benchmark_report import Measured, Report, Row, Workload
from esc_cli.media.atomic import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# What differs from run to run in a file of the same content is left out of it.
_METADATA: dict[str, dict[str, str | None]] = {".png": {"Software": None}, ".svg": {"Date": None}}
_STYLE = {"svg.hashsalt": "esc-upscale", "font.size": 9}

_REFERENCE_COLOR, _COLOR = "0.6", "tab:blue"


def check_plot(path: Path) -> None:
    """Make sure, before anything is measured, that a plot can be drawn.

    Raises:
        UsageError: The file's name ends in neither .png nor .svg, or matplotlib is not installed.
        OutputError: Its folder does not exist.
    """
    if path.suffix.lower() not in _METADATA:
        raise UsageError(f"a plot is a .png or .svg file, not {str(path)!r}")
    if find_spec("matplotlib") is None:
        raise UsageError("plots need matplotlib", hint="pip install 'esc-upscale[benchmark]'")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: its folder does not exist")


def draw_plot(report: Report, path: Path) -> None:
    """Draw how many times as fast as the reference each way is, and how much memory it takes.

    Args:
        report: Each of its workloads becomes a pair of charts.
        path: A .png or .svg file; replaced if it is there.

    Raises:
        UsageError: As for ``check_plot``.
        OutputError: It cannot be written.
    """
    check_plot(path)
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    works = report.workloads
    heights = [2 + len(work.rows) for work in works]
    with rc_context(_STYLE), atomic_path(path) as partial:  # type: ignore[arg-type]
        figure = Figure(figsize=(10, 0.35 * sum(heights)), layout="constrained")
        charts = figure.subplots(len(works), 2, squeeze=False, height_ratios=heights, sharey="row")
        for work, (speed, memory) in zip(works, charts, strict=True):
            _draw_bars(speed, work, _speedup, "times as fast as the reference", "{:.2f}")
            _draw_bars(memory, work, _peak_megabytes, "peak memory, MB", "{:.0f}")
            speed.set_title(f"{work.model} x{work.scale}, {work.height}x{work.width}", loc="left")
        kind = path.suffix.lower()
        figure.savefig(partial, format=kind[1:], dpi=150, metadata=_METADATA[kind])


def _speedup(measured: Measured) -> float | None:
    return measured.speedup


def _peak_megabytes(measured: Measured) -> float | None:
    return None if measured.peak_bytes is None else measured.peak_bytes / 10**6


def _label(row: Row) -> str:
    """Name a way of running by its four words: what came of ``auto``, where that is known."""
    way = row.outcome.chosen if isinstance(row.outcome, Measured) else row.settings
    return f"{way.attention}, {way.precision}, {way.tiling}, {way.runtime}"


def _draw_bars(
    axes: "Axes", work: Workload, value: Callable[[Measured], float | None], title: str, form: str
) -> None:
    """Draw a bar for each row, the reference on top; what has no value keeps its place."""
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
