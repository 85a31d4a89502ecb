import sys
from pathlib import Path

import pytest
from PIL import Image

from esc_cli.errors import DeviceError, OutputError, UsageError
from esc_cli.evaluation.benchmark.candidates import REFERENCE, Settings
from esc_cli.evaluation.benchmark.measurement import Timing
from esc_cli.evaluation.benchmark.report import BenchmarkReport, Measured, Row, Workload, draw_plot, flatness
from esc_cli.evaluation.figures import check_plot

FAST = Settings(precision="bfloat16")


def row(settings: Settings, *rounds_s: float) -> Row:
    if not rounds_s:
        return Row(settings, DeviceError("cannot"))
    return Row(settings, Measured(settings, (), Timing(rounds_s), None, 1.0, None, None))


def work(height: int, width: int, *rows: Row) -> Workload:
    return Workload("esc", 4, height, width, 1, 1, rows)


def report(*workloads: Workload) -> BenchmarkReport:
    return BenchmarkReport("cpu", "", 1, "2", 1, 3, Timing((1.0,)), 2048, None, workloads)


def test_the_fastest_is_by_median() -> None:
    rows = (row(REFERENCE, 3, 3, 3), row(FAST, 2, 2, 100), row(Settings()))
    assert work(8, 8, *rows).fastest is rows[1].outcome
    assert work(8, 8, row(REFERENCE)).fastest is None


def test_flatness_compares_the_sizes_of_one_way() -> None:
    found = flatness(
        report(
            work(500, 1000, row(REFERENCE, 1.0), row(FAST, 0.5)),
            work(1000, 1000, row(REFERENCE), row(FAST, 1.25)),
        )
    )
    assert [flat.settings for flat in found] == [FAST]
    assert found[0].seconds == pytest.approx({(500, 1000): 1.0, (1000, 1000): 1.25})
    assert found[0].spread == pytest.approx(1.25)


ROWS = (
    Row(REFERENCE, Measured(REFERENCE, (), Timing((3.0,)), 1.0, 30.0, 700 * 10**6, None)),
    Row(Settings(), Measured(Settings("sdpa"), (), Timing((1.0,)), 3.25, 10.0, None, None)),
    Row(Settings("flash"), DeviceError("not on this device")),
)
WORKLOADS = tuple(Workload("esc <&> light", 4, size, size, 1, 1, ROWS) for size in (64, 128))
REPORT = BenchmarkReport("cpu", "", 1, "2", 1, 1, Timing((0.1,)), 2048, None, WORKLOADS)


@pytest.mark.parametrize("name", ["plot.svg", "plot.PNG"])
def test_the_same_report_gives_the_same_file(tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    paths = tmp_path / name, tmp_path / f"again.{name}"
    for path in paths:
        draw_plot(REPORT, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(list(tmp_path.iterdir())) == 2
    assert "matplotlib.pyplot" not in sys.modules  # pyplot would look for a screen


def test_what_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    draw_plot(REPORT, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text()
    for word in ("naive, float32, none, torch", "3.25", "700", "esc &lt;&amp;&gt; light x4, 128x128"):
        assert word in text
    draw_plot(REPORT, tmp_path / "plot.png")
    with Image.open(tmp_path / "plot.png") as image:
        assert image.width > image.height > 400


def test_what_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        check_plot(tmp_path / "plot.pdf", replace=False)
    if "matplotlib" in sys.modules or pytest.importorskip("matplotlib"):
        with pytest.raises(OutputError, match="folder does not exist"):
            draw_plot(REPORT, tmp_path / "nowhere" / "plot.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match="need matplotlib"):
        check_plot(tmp_path / "plot.png", replace=False)
